//! The guard against locking everybody out by a slip of the hand. Floor 4: a question, never a rule.

use std::{collections::HashSet, sync::Arc, time::SystemTime};

use crate::policy::{Origin, Policy};

/// What to ask before the policy is replaced by one with these origins; `None` where there is nothing to ask.
pub(super) fn ask(old: &Policy, new: &[Arc<Origin>], now: SystemTime) -> Option<String> {
    let usable =
        |origin: &Arc<Origin>| origin.active && origin.expires.is_none_or(|expires| now < expires);
    let had_any = old.origins().iter().any(usable);
    if had_any && !new.iter().any(usable) {
        return Some(
            "after this reload nobody is admissible any more: `doorward reload --yes` does it all the same"
                .to_owned(),
        );
    }
    let kept: HashSet<&str> = new.iter().map(|origin| &*origin.name).collect();
    let gone: Vec<_> = old
        .origins()
        .iter()
        .filter(|origin| !origin.temporary && !kept.contains(&*origin.name))
        .collect();
    if gone.len() * 2 <= old.origins().len() {
        return None;
    }
    Some(format!(
        "this reload drops {} of {} origins ({}): `doorward reload --yes` does it all the same",
        gone.len(),
        old.origins().len(),
        first_names(&gone)
    ))
}

fn first_names(origins: &[&Arc<Origin>]) -> String {
    let mut names: Vec<&str> = origins
        .iter()
        .take(SHOWN)
        .map(|origin| &*origin.name)
        .collect();
    if origins.len() > SHOWN {
        names.push("...");
    }
    names.join(", ")
}

const SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Rules,
        samples::{self, origin, rules},
    };

    fn origins(names: &[&str]) -> Vec<Arc<Origin>> {
        let origins = names.iter().map(|name| origin(name, &["any"]));
        origins.map(Arc::new).collect()
    }

    fn policy(names: &[&str]) -> Policy {
        let rules = Rules {
            origins: origins(names),
            ..rules(Vec::new(), Vec::new())
        };
        samples::policy(rules)
    }

    #[test]
    fn dropping_half_of_the_origins_is_nothing_to_ask_about_and_more_is() {
        let old = policy(&["a", "b", "c", "d"]);
        let now = SystemTime::now();
        assert_eq!(ask(&old, &origins(&["a", "b"]), now), None);
        let asked = ask(&old, &origins(&["a", "e"]), now).unwrap();
        assert!(
            asked.contains("3 of 4") && asked.contains("--yes"),
            "{asked}"
        );
    }

    #[test]
    fn a_policy_that_admits_nobody_is_asked_about() {
        let old = policy(&["a"]);
        let now = SystemTime::now();
        let mut expired = origins(&["a"]);
        Arc::get_mut(&mut expired[0]).unwrap().expires = Some(now);
        let asked = ask(&old, &expired, now).unwrap();
        assert!(asked.contains("nobody"), "{asked}");
        assert!(ask(&old, &[], now).is_some());
        assert_eq!(ask(&policy(&[]), &[], now), None, "nobody was before, too");
    }
}
