//! The trusted sources of a managed database at `DigitalOcean`, or the inbound rules of a cloud firewall there. Floor 5: pure.
//!
//! They only admit, so their order does not matter.

use serde_json::Value;

use super::{
    Found,
    firewall::{Scope, network},
    rule::{Label, Place, Remark, Verdict},
};

/// # Errors
/// Why the text is not what was expected.
pub(super) fn read(text: &str, scope: &Scope) -> Result<Found, String> {
    let document: Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let mut found = Found::default();
    let mut others = 0;
    let listed = |key: &str| document.get(key).and_then(Value::as_array);
    if let Some(firewalls) = listed("firewalls") {
        for firewall in firewalls {
            others += cloud_firewall(firewall, scope, &mut found);
        }
    } else if document.get("inbound_rules").is_some() {
        others += cloud_firewall(&document, scope, &mut found);
    } else if let Some(rules) = listed("rules").or_else(|| document.as_array()) {
        // what `doctl databases firewalls list` prints, or several cloud firewalls
        for rule in rules {
            if rule.get("inbound_rules").is_some() {
                others += cloud_firewall(rule, scope, &mut found);
            } else {
                trusted_source(rule, scope, &mut found);
            }
        }
    } else {
        return Err("there are neither `rules` nor `inbound_rules` in it".to_owned());
    }
    scope.general(others, &mut found);
    Ok(found)
}

fn trusted_source(rule: &Value, scope: &Scope, found: &mut Found) {
    let (kind, value) = (text_of(rule, "type"), text_of(rule, "value"));
    let place = Place::named(format!("{kind} {value}"));
    let label = Label::of(text_of(rule, "description"), "trusted-sources");
    match (kind, network(value)) {
        ("ip_addr", Some(network)) => {
            let rule = scope.rule(place, Verdict::Admit, vec![network], Some(label));
            found.rules.push(rule);
        }
        ("ip_addr", None) => {
            let text = format!("`{value}` is no address");
            found.remarks.push(Remark::stopped(&[&place], text));
        }
        _ => {
            let text = "its addresses are known to DigitalOcean alone: write them down";
            found.remarks.push(Remark::left_out(&place, text));
        }
    }
}

/// How many rules were for something else.
fn cloud_firewall(firewall: &Value, scope: &Scope, found: &mut Found) -> usize {
    let name = text_of(firewall, "name");
    let mut others = 0;
    for (number, rule) in (1..).zip(items(firewall, "inbound_rules")) {
        if !is_for(rule, scope.port) {
            others += 1;
            continue;
        }
        let place = Place::named(format!("{name}, inbound rule {number}"));
        let sources = rule.get("sources").unwrap_or(&Value::Null);
        let (mut networks, mut strange) = (Vec::new(), Vec::new());
        for address in items(sources, "addresses").filter_map(Value::as_str) {
            match network(address) {
                Some(network) => networks.push(network),
                None => strange.push(address),
            }
        }
        for address in strange {
            let text = format!("`{address}` is no address");
            found.remarks.push(Remark::stopped(&[&place], text));
        }
        for (key, what) in [
            ("droplet_ids", "droplet"),
            ("load_balancer_uids", "load balancer"),
            ("kubernetes_ids", "cluster"),
            ("tags", "tag"),
        ] {
            for item in items(sources, key) {
                let text = format!(
                    "the {what} {item}: its addresses are known to DigitalOcean alone, write them down"
                );
                found.remarks.push(Remark::left_out(&place, text));
            }
        }
        // one rule each, so that one that is too wide does not take the others along
        found.rules.extend(networks.into_iter().map(|network| {
            let networks = vec![network];
            let label = Label::of("", name);
            scope.rule(place.clone(), Verdict::Admit, networks, Some(label))
        }));
    }
    others
}

/// Whether TCP to the port is meant. `0` and `all` are all ports.
fn is_for(rule: &Value, port: u16) -> bool {
    let ports = text_of(rule, "ports");
    let number = |text: &str| text.parse::<u16>().ok();
    let fits = match ports.split_once('-') {
        Some((first, last)) => number(first)
            .zip(number(last))
            .is_some_and(|(first, last)| (first..=last).contains(&port)),
        None => ["", "0", "all"].contains(&ports) || number(ports) == Some(port),
    };
    text_of(rule, "protocol") == "tcp" && fits
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    let list = value.get(key).and_then(Value::as_array);
    list.into_iter().flatten()
}

fn text_of<'v>(value: &'v Value, key: &str) -> &'v str {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default()
}
