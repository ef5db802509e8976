//! Spawning, and waiting for what was spawned. Floor 4: the one place that may call `tokio::spawn`.

use std::{
    fmt,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

/// Tasks that belong together. A panic in one costs that one: it is logged, and nobody else notices.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    running: AtomicUsize,
    idle: Notify,
}

impl Tasks {
    /// `name` says what it is, in the log of a panic.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let running = Running::new(Arc::clone(&self.0), name);
        #[expect(
            clippy::disallowed_methods,
            reason = "this is what the others must use"
        )]
        let handle = tokio::spawn(async move {
            let _running = running;
            task.await;
        });
        // detached: `Running` tells of its end, and the runtime catches its panic
        drop(handle);
    }

    /// How many have not ended.
    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::Acquire)
    }

    /// Waits until none is left. Cancel safe.
    pub async fn ended(&self) {
        loop {
            let mut idle = pin!(self.0.idle.notified());
            // registered before the look, so that the last end is not missed
            idle.as_mut().enable();
            if self.running() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tasks({})", self.running())
    }
}

/// A task that has not ended.
struct Running {
    tasks: Arc<Inner>,
    name: &'static str,
}

impl Running {
    fn new(tasks: Arc<Inner>, name: &'static str) -> Self {
        tasks.running.fetch_add(1, Ordering::AcqRel);
        Self { tasks, name }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(event = "panic", task = self.name, "a task ended by a panic");
        }
        if self.tasks.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.tasks.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_panic_costs_its_own_task_and_is_waited_for_like_any_end() {
        let tasks = Tasks::default();
        let (tell, told) = oneshot::channel();
        tasks.spawn("broken", async { panic!("on purpose") });
        tasks.spawn("whole", async move { tell.send(7).unwrap() });
        assert_eq!(told.await.unwrap(), 7);
        tasks.ended().await;
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test]
    async fn nobody_waits_for_what_was_never_begun() {
        Tasks::default().ended().await;
    }
}
