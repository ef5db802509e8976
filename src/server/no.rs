//! A no to whoever asks for a change: what kind of no it is, and why. Floor 4.

use super::{audit::AuditError, control::Refused, made::Unusable};
use crate::config::LoadError;

/// A reload that changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct No {
    pub(super) why: Refused,
    pub(super) text: String,
}

impl From<AuditError> for No {
    fn from(error: AuditError) -> Self {
        Self {
            why: Refused::NotPermitted,
            text: error.to_string(),
        }
    }
}

impl From<LoadError> for No {
    fn from(error: LoadError) -> Self {
        let unreadable = matches!(&error, LoadError::Unreadable { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied);
        Self {
            why: if unreadable {
                Refused::NotPermitted
            } else {
                Refused::Configuration
            },
            text: error.to_string(),
        }
    }
}

impl From<Unusable> for No {
    fn from(error: Unusable) -> Self {
        Self {
            why: if error.is_permission() {
                Refused::NotPermitted
            } else {
                Refused::Configuration
            },
            text: error.to_string(),
        }
    }
}
