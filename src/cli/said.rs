//! Something that `doorward check` has to tell about what stands around the gateway. Floor 5.

use std::{io, path::Path};

use crate::{
    config::{Problem, Severity},
    net::tls::TlsError,
};

/// A finding that has no place in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) severity: Severity,
    pub(super) code: Option<&'static str>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Said {
    pub(super) fn error(message: String) -> Self {
        Self {
            severity: Severity::Error,
            code: None,
            message,
            hint: None,
        }
    }

    pub(super) fn warning(code: &'static str, message: String) -> Self {
        Self {
            severity: Severity::Warning,
            code: Some(code),
            message,
            hint: None,
        }
    }

    pub(super) fn note(message: String) -> Self {
        Self {
            severity: Severity::Note,
            code: None,
            message,
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn in_file(self, file: &Path) -> Problem {
        Problem {
            severity: self.severity,
            message: self.message,
            source: file.display().to_string(),
            place: None,
            label: None,
            hint: self.hint,
            code: self.code,
        }
    }

    /// As people read it, for tests.
    #[cfg(test)]
    pub(super) fn words(&self) -> String {
        let hint = self.hint.as_deref().unwrap_or_default();
        format!("{} / {hint}", self.message)
    }
}

/// Of files that `upstream_tls` names.
pub(super) fn unusable(error: &TlsError) -> Said {
    let message = format!("`upstream_tls` cannot be used: {error}");
    // the daemon's user may read what this one may not
    if let TlsError::Unreadable { error, .. } = error
        && error.kind() == io::ErrorKind::PermissionDenied
    {
        return Said::warning("W-UNREADABLE", message);
    }
    Said::error(message)
}
