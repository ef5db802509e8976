//! The audit: who came in, who did not, and who changed the rules, as JSON lines in a file of their own. Floor 4.
//!
//! Events with the targets of [`session`](crate::session) are written here beside the log. They go through a bounded channel to a thread; a full disk
//! makes nobody wait. While it is full, the thread tries the same lines again, so that none in its hands is lost; what finds the
//! channel full is dropped and counted.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{config, session::Record};

/// Takes lines without ever waiting. Until it is given a file it takes none.
#[derive(Clone, Debug, Default)]
pub(super) struct Audit(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Option<SyncSender<Message>>>,
    /// There is somebody in `lines`. Asked before a line is made, so without the lock.
    taking: AtomicBool,
    /// A file that the thread is to go on in.
    next: Mutex<Option<File>>,
    record: Arc<Record>,
    dropped: AtomicU64,
}

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the audit file {}: {error}; make it writable for doorward's user, or change audit.file", path.display())]
pub struct AuditError {
    path: PathBuf,
    error: io::Error,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

impl Audit {
    /// From now on lines go where the settings say. The file is opened anew each time, for it may have been rotated away.
    ///
    /// # Errors
    /// The file cannot be opened for appending. Lines go on to where they went.
    pub(super) fn write_to(&self, settings: &config::Audit) -> Result<(), AuditError> {
        let mut lines = self.lock();
        if let Some(path) = &settings.file {
            let failed = |error| AuditError {
                path: path.clone(),
                error,
            };
            *lock(&self.0.next) = Some(open(path).map_err(failed)?);
            if lines.is_none() {
                *lines = Some(start(Arc::clone(&self.0)).map_err(failed)?);
            }
        } else {
            *lines = None;
        }
        self.0.taking.store(lines.is_some(), Ordering::Relaxed);
        let record = &self.0.record;
        record.require(settings.required && settings.file.is_some());
        Ok(())
    }

    /// Whether there is a file for lines, which cost too much to be made for nobody.
    pub(super) fn takes(&self) -> bool {
        self.0.taking.load(Ordering::Relaxed)
    }

    /// Whether new sessions have to wait until they can be written down.
    pub(super) fn record(&self) -> Arc<Record> {
        Arc::clone(&self.0.record)
    }

    /// How many lines were dropped since this was asked last.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.swap(0, Ordering::Relaxed)
    }

    /// Waits until everything so far is written, at most a second.
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(1);
        let sent = self
            .lock()
            .as_ref()
            .is_some_and(|lines| lines.try_send(Message::Flush(done)).is_ok());
        if sent {
            let _late = written.recv_timeout(Duration::from_secs(1));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<SyncSender<Message>>> {
        lock(&self.0.lines)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For doorward's user and group alone: it names users and databases.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn start(shared: Arc<Shared>) -> io::Result<SyncSender<Message>> {
    let (lines, received) = sync_channel(WAITING_LINES);
    thread::Builder::new()
        .name("audit".to_owned())
        .spawn(move || write_lines(&received, &shared))?;
    Ok(lines)
}

fn write_lines(lines: &Receiver<Message>, shared: &Shared) {
    let mut file = None;
    while let Ok(message) = lines.recv() {
        match message {
            Message::Line(line) => insist(&line, &mut file, shared),
            Message::Flush(done) => {
                let _nobody_waits = done.try_send(());
            }
        }
    }
}

/// Writes a whole line, however often it takes; a file that was given meanwhile begins with a whole line, too.
fn insist(line: &[u8], file: &mut Option<File>, shared: &Shared) {
    let mut rest = line;
    while !rest.is_empty() {
        if let Some(next) = lock(&shared.next).take() {
            (*file, rest) = (Some(next), line);
        }
        let written = file.as_mut().map(|file| file.write(rest));
        match written {
            Some(Ok(written)) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Some(Ok(_) | Err(_)) | None => {
                if shared.record.broken() {
                    tracing::error!(
                        event = "audit_broken",
                        "the audit cannot be written: make room, or change audit.file and reload"
                    );
                }
                thread::sleep(AGAIN);
            }
        }
    }
    if shared.record.mended() {
        tracing::info!(event = "audit_mended", "the audit is written again");
    }
}

impl<'a> MakeWriter<'a> for Audit {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Audit {
    /// One event is one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let dropped = self
            .lock()
            .as_ref()
            .is_some_and(|lines| lines.try_send(Message::Line(line.to_vec())).is_err());
        if dropped {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that may wait for the writer.
const WAITING_LINES: usize = 8192;
/// How long the writer waits before it tries a full disk again.
const AGAIN: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::time::Instant;

    use super::*;

    fn settings(path: impl AsRef<Path>) -> config::Audit {
        config::Audit {
            file: Some(path.as_ref().to_owned()),
            required: true,
        }
    }

    fn until(mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < deadline, "it did not happen in time");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn without_a_file_nothing_is_kept_and_nothing_is_missed() {
        let audit = Audit::default();
        assert!(!audit.takes(), "no line needs to be made");
        (&audit).write_all(b"line\n").unwrap();
        assert_eq!(audit.dropped(), 0);
        assert!(!audit.record().is_wanting());
    }

    #[test]
    fn lines_go_on_in_a_fresh_file_when_the_old_one_was_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit"), folder.path().join("audit.1"));
        let audit = Audit::default();
        audit.write_to(&settings(&path)).unwrap();
        assert!(audit.takes());
        (&audit).write_all(b"one\n").unwrap();
        audit.flush();
        fs::rename(&path, &old).unwrap();
        audit.write_to(&settings(&path)).unwrap();
        (&audit).write_all(b"two\n").unwrap();
        audit.flush();
        assert_eq!(fs::read(&old).unwrap(), b"one\n");
        assert_eq!(fs::read(&path).unwrap(), b"two\n");
    }

    #[test]
    fn a_full_disk_makes_nobody_wait_and_a_file_with_room_takes_the_line_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit");
        let audit = Audit::default();
        audit.write_to(&settings("/dev/full")).unwrap();
        let began = Instant::now();
        for _ in 0..WAITING_LINES + 100 {
            (&audit).write_all(b"line\n").unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        until(|| audit.record().is_wanting());
        assert!(audit.dropped() >= 99);
        audit.write_to(&settings(&path)).unwrap();
        until(|| !audit.record().is_wanting());
        audit.flush();
        assert!(fs::read(&path).unwrap().starts_with(b"line\nline\n"));
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_and_changes_nothing() {
        let audit = Audit::default();
        let error = audit.write_to(&settings("/nonexistent/audit"));
        assert!(error.is_err());
        assert!(!audit.record().is_wanting());
    }
}
