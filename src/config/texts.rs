//! What a configuration is read from: the allowlist, the files that it includes, the lists that its networks name. Floor 1.
//!
//! They are kept beside what was read from them, so that the same can be read again, whatever has become of the files since.

use std::{
    collections::BTreeMap,
    fs::{File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    named_networks::ListFile,
    problems::{Fault, Report, Span, Where},
    providers,
    raw::MAX_FILE,
};

/// All that a configuration was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// The allowlist. Empty when there was no file.
    pub path: PathBuf,
    pub main: String,
    /// The included files by their paths.
    pub includes: BTreeMap<PathBuf, String>,
    /// What the lists said, by the names of the networks that are made of them.
    pub lists: BTreeMap<String, List>,
}

/// A list that somebody else publishes, as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    pub path: PathBuf,
    pub addresses: Vec<IpNet>,
}

/// Which lists a configuration is read with whose texts were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lists {
    /// As they are on the disk now.
    Fresh,
    /// As they were.
    Kept,
}

impl Texts {
    /// The allowlist and the files that it includes, where they differ from what is on the disk now, or cannot be read there.
    pub fn differing(&self) -> Vec<&Path> {
        let main = std::iter::once((&self.path, &self.main));
        let all = main.filter(|(path, _)| !path.as_os_str().is_empty());
        let all = all.chain(&self.includes);
        all.filter(|(path, kept)| read_file(path).ok().as_ref() != Some(kept))
            .map(|(path, _)| path.as_path())
            .collect()
    }

    /// The included files and the lists: those whose change on the disk is worth a look.
    pub fn named(&self) -> impl Iterator<Item = &Path> {
        let lists = self.lists.values().map(|list| &list.path);
        self.includes.keys().chain(lists).map(PathBuf::as_path)
    }
}

/// What is taken from memory; everything else comes from the disk.
#[derive(Clone, Copy, Default)]
pub(super) struct Files<'k> {
    pub(super) includes: Option<&'k BTreeMap<PathBuf, String>>,
    pub(super) lists: Option<&'k BTreeMap<String, List>>,
}

impl Files<'_> {
    pub(super) fn include(self, path: &Path) -> Result<String, Unread> {
        match self.includes {
            None => read_file(path),
            Some(kept) => kept
                .get(path)
                .cloned()
                .ok_or_else(|| io::Error::other("its text was not kept").into()),
        }
    }

    /// # Errors
    /// The file and what is wrong with it.
    pub(super) fn list(self, network: &str, file: &ListFile) -> Result<Vec<IpNet>, String> {
        match self.lists {
            None => providers::read(&file.path)
                .and_then(|text| {
                    providers::parse(&file.path, file.format, file.key.as_deref(), &text)
                })
                .map_err(|error| error.to_string()),
            Some(kept) => kept
                .get(network)
                .map(|list| list.addresses.clone())
                .ok_or_else(|| format!("{}: it was not kept", file.path.display())),
        }
    }
}

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("the file is larger than {MAX_FILE} bytes")]
    TooLarge,
    #[error("the file is not UTF-8")]
    NotText(Vec<u8>),
}

/// Reads a file whole. One that is written to at that moment is no good. A pipe is waited for: it is what somebody types.
pub(super) fn read(path: &Path) -> Result<String, Unread> {
    text_of(File::open(path)?)
}

/// The same where a daemon reads: it waits for nobody.
pub(super) fn read_file(path: &Path) -> Result<String, Unread> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let what = file.metadata()?;
    if !what.is_file() && !what.is_dir() {
        return Err(io::Error::other("it is no file: a pipe, a socket or a device").into());
    }
    text_of(file)
}

fn text_of(mut file: File) -> Result<String, Unread> {
    let before = file.metadata()?;
    let bytes = whole(&mut file)?;
    if bytes.len() > MAX_FILE {
        return Err(Unread::TooLarge);
    }
    let state = |file: &Metadata| (file.len(), file.mtime(), file.mtime_nsec());
    let after = file.metadata()?;
    let held_still =
        state(&before) == state(&after) && u64::try_from(bytes.len()) == Ok(after.len());
    // a pipe has no state
    if before.is_file() && !held_still {
        return Err(io::Error::other("it changed while it was read").into());
    }
    String::from_utf8(bytes).map_err(|error| Unread::NotText(error.into_bytes()))
}

/// No more than a file may hold, and a little, so that a larger one is noticed.
fn whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_FILE + 1).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Unread {
    /// What is wrong with the content of the file of this name.
    ///
    /// # Errors
    /// It could not be read at all.
    pub(super) fn into_report(self, name: &str) -> Result<Report, io::Error> {
        match self {
            Self::Unreadable(error) => Err(error),
            Self::TooLarge => {
                let mut report = Report::new(name, "");
                let fault = Fault::new(self.to_string()).hint("is it the allowlist?");
                report.error(&Where::File(Span::START), fault);
                Ok(report)
            }
            Self::NotText(bytes) => Ok(not_text(name, &bytes)),
        }
    }
}

fn not_text(name: &str, bytes: &[u8]) -> Report {
    let good = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
    let good = String::from_utf8_lossy(bytes.get(..good).unwrap_or_default());
    let column = good.rsplit('\n').next().unwrap_or_default();
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let at = Span {
        line: number(good.matches('\n').count() + 1),
        column: number(column.chars().count() + 1),
        ..Span::START
    };
    let mut report = Report::new(name, &String::from_utf8_lossy(bytes));
    let fault = Fault::new("the file is not UTF-8").label("this byte belongs to no character");
    report.error(&Where::File(at), fault);
    report
}
