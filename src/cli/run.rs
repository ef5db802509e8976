//! `doorward run`: the daemon. Floor 5.

use tokio::runtime;

use super::{Exit, Global, Output, RunArgs};
use crate::{
    config::{self, Environment},
    net::kernel,
    server::{self, Configuration, Logging, Source, StartError},
};

/// Runs until a signal ends it.
pub(super) fn run(arguments: &RunArgs, global: &Global, output: &mut Output<'_>) -> Exit {
    let overrides = arguments.overrides(global);
    let source = match arguments.listener() {
        Some(listener) => Source::Flags {
            listener,
            overrides,
        },
        None => Source::File {
            path: global.config_or_default(),
            overrides,
        },
    };
    let configuration = match Configuration::read(source) {
        Ok(configuration) => configuration,
        Err(error) => return complain(&error, output),
    };
    let environment = Environment::of_process();
    let logging = Logging::start(configuration.log(), environment.get("JOURNAL_STREAM"));
    prepare_process();
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.complain(format_args!("error: cannot start threads: {error}"));
            return Exit::Failed;
        }
    };
    let ended = runtime.block_on(server::run(configuration, &logging));
    // what is left has had its time
    runtime.shutdown_background();
    logging.flush();
    match ended {
        Ok(()) => Exit::Fine,
        Err(error) => {
            output.complain(format_args!("error: {error}"));
            Exit::from(&error)
        }
    }
}

fn complain(error: &config::LoadError, output: &mut Output<'_>) -> Exit {
    match error {
        config::LoadError::Unreadable { path, source }
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            output.complain(format_args!(
                "error: there is no {}: write one, name another with --config, or give --protocol, --upstream, --listen and --allow",
                path.display()
            ));
            Exit::from(error)
        }
        config::LoadError::Unreadable { .. } | config::LoadError::Problems(_) => {
            output.load_failed(error)
        }
    }
}

/// What a process that holds keys and many sockets does first. That it cannot is no reason not to start.
fn prepare_process() {
    if let Err(error) = kernel::forbid_dumps() {
        tracing::warn!(event = "dumps_not_forbidden", cause = %error);
    }
    match kernel::raise_descriptor_limit() {
        Ok(limit) => tracing::debug!(event = "descriptors", limit),
        Err(error) => tracing::warn!(event = "descriptors_not_raised", cause = %error),
    }
}

impl From<&StartError> for Exit {
    fn from(error: &StartError) -> Self {
        match error {
            StartError::Unusable(error) if error.is_permission() => Self::NotPermitted,
            StartError::Unusable(_) | StartError::Misbound(_) => Self::Configuration,
            StartError::Listen { .. } | StartError::AdminSocket { .. } => Self::Unavailable,
            StartError::Audit(_) => Self::NotPermitted,
            StartError::Meters(_) | StartError::Signals(_) | StartError::Panic => Self::Failed,
        }
    }
}
