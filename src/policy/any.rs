//! Origins that take any address, by the users that they name. Floor 0.
//!
//! An address finds nothing here, but whoever such an origin does not name cannot match it nor come near it: so thousands of them,
//! one for each public application, cost a claim one look-up.

use std::{collections::HashMap, sync::Arc};

use super::{Names, Origin};

#[derive(Debug, Default)]
pub(super) struct AnyAddress {
    by_user: HashMap<String, Vec<u32>>,
    any_user: Vec<u32>,
}

impl AnyAddress {
    /// Of origins with their places in the file.
    pub(super) fn new<'a>(origins: impl Iterator<Item = (u32, &'a Arc<Origin>)>) -> Self {
        let mut all = Self::default();
        for (index, origin) in origins {
            match &origin.users {
                Names::Any => all.any_user.push(index),
                Names::Listed(users) => {
                    for user in users {
                        all.by_user.entry(user.clone()).or_default().push(index);
                    }
                }
            }
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_user.is_empty() && self.any_user.is_empty()
    }

    /// The origins whose users may cover this one.
    pub(super) fn of(&self, user: &str) -> impl Iterator<Item = u32> {
        let by_user = self.by_user.get(user).into_iter().flatten();
        by_user.chain(&self.any_user).copied()
    }
}
