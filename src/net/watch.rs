//! Notices files that have changed on disk. Floor 1: what is to be done about it, others know.
//!
//! The kernel's notices only say when to look. What tells a change is the stamp of the file that is found behind all
//! symbolic links, so that a file renamed into place and a link that is swapped count, and a read does not. Where there are no
//! notices (no instance left, a network's file system) a look now and then finds the change too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::pending,
    io, mem,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use inotify::{Inotify, WatchMask};
use tokio::{
    io::unix::AsyncFd,
    task::spawn_blocking,
    time::{Instant, timeout, timeout_at},
};

use super::kernel;

/// Files under watch, as they were when somebody was last told of them.
#[derive(Debug)]
pub struct Watch {
    stamps: Stamps,
    notices: Notices,
    /// The notices are of other folders, or of none yet.
    stale: bool,
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// What is never the same of two states of a file; `None` of one that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Moves with every change, even one that sets `modified` back.
    changed: (i64, i64),
}

#[derive(Debug)]
struct Notices {
    /// None where there are none.
    kernel: Option<AsyncFd<Inotify>>,
    /// Every folder gives notices.
    complete: bool,
}

impl Watch {
    /// Watches these files, which need not be there. Looks at them once: blocks for as long.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            stamps: stamped(files),
            notices: Notices::none(),
            stale: true,
        }
    }

    /// From now on watches these files. Those that were watched before are compared with what they were; blocks for a look
    /// at the others.
    pub fn follow(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let files: BTreeSet<_> = files.into_iter().collect();
        if files.iter().eq(self.stamps.keys()) {
            return;
        }
        let (known, new): (Vec<_>, Vec<_>) = files
            .into_iter()
            .partition(|file| self.stamps.contains_key(file));
        let mut stamps = stamped(new);
        stamps.extend(
            known
                .into_iter()
                .filter_map(|file| self.stamps.remove_entry(&file)),
        );
        self.stamps = stamps;
        self.stale = true;
    }

    /// Waits until files have changed, appeared or vanished, and then until they rest; says which. A change that happens
    /// while nobody waits is told at the next call. Cancel safe.
    pub async fn changed(&mut self) -> BTreeSet<PathBuf> {
        loop {
            let patience = if self.listen().await.complete {
                SELDOM
            } else {
                OFTEN
            };
            // looked at after the notices are on, so that no change falls between
            if !self.differing().await.is_empty() {
                let told = self.settled().await;
                if !told.is_empty() {
                    return told;
                }
            }
            let _either = timeout(patience, self.listen().await.next()).await;
        }
    }

    /// Sees to it that there are notices.
    async fn listen(&mut self) -> &mut Notices {
        if self.stale {
            let files: Vec<_> = self.stamps.keys().cloned().collect();
            let old = mem::replace(&mut self.notices, Notices::none());
            let notices = spawn_blocking(move || {
                // the kernel takes its time to end them
                drop(old);
                Notices::of(&files)
            });
            self.notices = notices.await.unwrap_or_else(|_panicked| Notices::none());
            self.stale = false;
        }
        &mut self.notices
    }

    async fn differing(&self) -> Vec<(PathBuf, Option<Stamp>)> {
        let files: Vec<_> = self.stamps.keys().cloned().collect();
        let found = spawn_blocking(move || stamped(files)).await;
        let found = found.unwrap_or_default();
        let differs = |(file, now): &(PathBuf, Option<Stamp>)| {
            self.stamps.get(file).is_some_and(|before| before != now)
        };
        found.into_iter().filter(differs).collect()
    }

    /// Lets whoever writes come to an end: one is seldom done with the first byte, or with the first of two files.
    async fn settled(&mut self) -> BTreeSet<PathBuf> {
        let latest = Instant::now() + LONGEST;
        while Instant::now() < latest {
            let rest = (Instant::now() + REST).min(latest);
            if timeout_at(rest, self.notices.next()).await.is_err() {
                break;
            }
        }
        // no waiting from here to the end: what is noted here is told
        let differing = self.differing().await;
        self.stale = true;
        let mut told = BTreeSet::new();
        for (file, now) in differing {
            self.stamps.insert(file.clone(), now);
            told.insert(file);
        }
        told
    }
}

impl Notices {
    fn none() -> Self {
        Self {
            kernel: None,
            complete: false,
        }
    }

    /// Of all folders in which a step on the way to a file can be replaced.
    fn of(files: &[PathBuf]) -> Self {
        let Ok(kernel) = Inotify::init() else {
            return Self::none();
        };
        let folders: BTreeSet<_> = files.iter().flat_map(|file| folders_of(file)).collect();
        let mut watches = kernel.watches();
        let giving = folders
            .iter()
            .filter(|folder| watches.add(folder, of_note()).is_ok());
        let complete = giving.count() == folders.len();
        let kernel = kernel::waited_for(kernel).ok();
        Self {
            complete: complete && kernel.is_some(),
            kernel,
        }
    }

    /// Waits for a notice. Cancel safe: it only says when to look.
    async fn next(&mut self) {
        if let Some(kernel) = &mut self.kernel
            && heard(kernel).await.is_ok()
        {
            return;
        }
        pending::<()>().await;
    }
}

async fn heard(kernel: &mut AsyncFd<Inotify>) -> io::Result<()> {
    loop {
        let read = kernel.readable_mut().await?.try_io(|kernel| {
            let mut notices = [0; 1024];
            kernel.get_mut().read_events(&mut notices).map(drop)
        });
        if let Ok(read) = read {
            return read;
        }
    }
}

/// Readers are of no note, or every reload would cause the next. Nor is what is written before the writer is done: a log in the
/// same folder never is, and each of its lines would wake us.
fn of_note() -> WatchMask {
    WatchMask::CREATE
        | WatchMask::CLOSE_WRITE
        | WatchMask::ATTRIB
        | WatchMask::MOVE
        | WatchMask::DELETE
        | WatchMask::MOVE_SELF
        | WatchMask::DELETE_SELF
}

/// The folder of a path, and those of what it links to.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut step = file.to_owned();
    for _ in 0..MAX_LINKS {
        let Some(folder) = step.parent().map(Path::to_owned) else {
            break;
        };
        let target = fs::read_link(&step).map(|target| folder.join(target));
        folders.push(folder);
        match target {
            Ok(target) => step = target,
            Err(_no_link) => break,
        }
    }
    // a folder on the way may be a link that is swapped, as `..data` of a mounted secret is
    let real = fs::canonicalize(file).ok();
    folders.extend(real.and_then(|file| file.parent().map(Path::to_owned)));
    folders
}

fn stamped(files: impl IntoIterator<Item = PathBuf>) -> Stamps {
    let stamp = |file: PathBuf| {
        let stamp = Stamp::of(&file).ok();
        (file, stamp)
    };
    files.into_iter().map(stamp).collect()
}

impl Stamp {
    fn of(file: &Path) -> io::Result<Self> {
        let found = fs::metadata(file)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// How long files must rest before a change is told.
const REST: Duration = Duration::from_millis(200);
/// In a busy folder there is no rest.
const LONGEST: Duration = Duration::from_secs(1);
/// How often to look where every folder gives notices.
const SELDOM: Duration = Duration::from_secs(10);
/// How often to look where they do not.
const OFTEN: Duration = Duration::from_secs(2);
/// As many as Linux follows.
const MAX_LINKS: usize = 40;

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
