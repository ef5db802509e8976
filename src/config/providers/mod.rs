//! Address lists that somebody else publishes: of a cloud, of a content delivery network, of a runner of jobs. Floor 1.
//!
//! A file on this machine, which a timer may fetch, becomes the networks of a named set. Nothing is fetched here. A list that
//! is half there, empty or not what it is said to be is refused whole: the last good one goes on.

mod formats;

use std::{
    borrow::Cow,
    fmt,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{addresses, walk::shorten};
use crate::policy::From;

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// An address or a network in each line; `#` begins a comment.
    Plain,
    /// `ip-ranges.json` of AWS. The key is a service, `S3`, or a service in a region, `EC2/eu-central-1`; `*` is every service.
    AwsIpRanges,
    /// `ips-v4` and `ips-v6` of Cloudflare, one behind the other, or the answer of its API (`/client/v4/ips`).
    Cloudflare,
    /// `api.github.com/meta`. The key is the name of a list, `actions`.
    GithubMeta,
    /// `cloud.json` of Google, or `goog.json`. The key, which may be absent, is a scope: `europe-west1`.
    GcpCloud,
    /// `ServiceTags_Public.json` of Azure. The key is the name of a tag: `AzureCloud.westeurope`.
    AzureServiceTags,
    /// RFC 8805: the network is the first value of each line. Where it is said to be counts for nothing.
    Geofeed,
}

/// Whether a format's file holds several lists, of which a key names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyIs {
    Unknown,
    Optional,
    /// With what it is, and an example.
    Obligatory(&'static str),
}

/// Why a list cannot be used. `Display` names the file, the line or entry, and the cause.
#[derive(Debug)]
pub(super) struct ProviderError {
    path: PathBuf,
    wrong: Wrong,
}

/// What is wrong, and where if it is in one place.
#[derive(Debug)]
struct Wrong {
    at: Option<String>,
    cause: String,
}

/// Where an entry stands: a line from 1, or a value of a JSON list from 0.
#[derive(Clone, Copy)]
enum At<'t> {
    Line(usize),
    Item(&'t str, usize),
}

/// One network, as it is written.
struct Entry<'t> {
    at: At<'t>,
    text: Cow<'t, str>,
}

impl Format {
    /// Each by its name in the file.
    pub(super) const ALL: [(&'static str, Self); 7] = [
        ("plain", Self::Plain),
        ("aws-ip-ranges", Self::AwsIpRanges),
        ("cloudflare", Self::Cloudflare),
        ("github-meta", Self::GithubMeta),
        ("gcp-cloud", Self::GcpCloud),
        ("azure-service-tags", Self::AzureServiceTags),
        ("geofeed", Self::Geofeed),
    ];

    pub(super) const fn key(self) -> KeyIs {
        match self {
            Self::Plain | Self::Cloudflare | Self::Geofeed => KeyIs::Unknown,
            Self::GcpCloud => KeyIs::Optional,
            Self::AwsIpRanges => {
                KeyIs::Obligatory("a service, maybe in a region: EC2/eu-central-1")
            }
            Self::GithubMeta => KeyIs::Obligatory("the name of a list: actions"),
            Self::AzureServiceTags => KeyIs::Obligatory("the name of a tag: AzureCloud.westeurope"),
        }
    }
}

/// Reads a list. It must be a plain file that not everybody may write, and it must hold still.
///
/// # Errors
/// The file, or what it is, does not serve.
pub(super) fn read(path: &Path) -> Result<String, ProviderError> {
    text(path).map_err(|wrong| ProviderError {
        path: path.to_owned(),
        wrong,
    })
}

/// The networks of a list, as few as they can be said with. `path` is for the error alone.
///
/// # Errors
/// It is not in that format, has no such key, or an entry is no network. Nothing is left out.
pub(super) fn parse(
    path: &Path,
    format: Format,
    key: Option<&str>,
    text: &str,
) -> Result<Vec<IpNet>, ProviderError> {
    networks(format, key, text).map_err(|wrong| ProviderError {
        path: path.to_owned(),
        wrong,
    })
}

fn text(path: &Path) -> Result<String, Wrong> {
    // a pipe must not be waited for
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(Wrong::new("it is no file"));
    }
    if before.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Wrong::new("everybody may write to it: `chmod o-w`"));
    }
    let folder = path.parent().map(fs::metadata).transpose()?;
    let open =
        |folder: Metadata| folder.mode() & (WRITABLE_BY_OTHERS | STICKY) == WRITABLE_BY_OTHERS;
    if folder.is_some_and(open) {
        return Err(Wrong::new(
            "everybody may put another file in its place: `chmod o-w` for its folder",
        ));
    }
    let bytes = whole(&mut file)?;
    if bytes.len() > MAX_FILE {
        return Err(too_large());
    }
    let state = |file: &Metadata| (file.len(), file.mtime(), file.mtime_nsec());
    let after = file.metadata()?;
    if state(&before) != state(&after) || u64::try_from(bytes.len()) != Ok(after.len()) {
        return Err(Wrong::new("it changed while it was read"));
    }
    String::from_utf8(bytes).map_err(|_other| Wrong::new("it is not UTF-8"))
}

/// No more than a list may hold, and a little, so that a larger one is noticed.
fn whole(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_FILE + 1).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn networks(format: Format, key: Option<&str>, text: &str) -> Result<Vec<IpNet>, Wrong> {
    if text.len() > MAX_FILE {
        return Err(too_large());
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let entries = formats::entries(format, key, text)?;
    if entries.is_empty() {
        return Err(Wrong::new("there is no network in it"));
    }
    if entries.len() > MAX_NETWORKS {
        return Err(Wrong::new(format!(
            "{} networks; no more than {MAX_NETWORKS} are taken",
            entries.len()
        )));
    }
    let networks = entries.iter().map(Entry::network);
    let networks = networks.collect::<Result<Vec<_>, _>>()?;
    Ok(IpNet::aggregate(&networks))
}

impl Entry<'_> {
    /// Read as strictly as an entry of the allowlist itself.
    fn network(&self) -> Result<IpNet, Wrong> {
        let wrong = |cause: String| Wrong {
            at: Some(self.at.to_string()),
            cause,
        };
        let network = match addresses::from(&self.text) {
            Ok(From::Network(network)) => network,
            Ok(From::Any | From::Host { .. } | From::Set(_)) => {
                return Err(wrong(format!("`{}` is no network", shorten(&self.text))));
            }
            Err(fault) => return Err(wrong(fault.to_string())),
        };
        let widest = if network.addr().is_ipv4() { 8 } else { 16 };
        if network.prefix_len() < widest {
            return Err(wrong(format!(
                "{network} is wider than any that has one owner"
            )));
        }
        Ok(network)
    }
}

impl Wrong {
    fn new(cause: impl Into<String>) -> Self {
        Self {
            at: None,
            cause: cause.into(),
        }
    }
}

impl std::convert::From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl std::convert::From<serde_json::Error> for Wrong {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.wrong.at.as_deref().unwrap_or_default();
        write!(f, "{}{at}: {}", self.path.display(), self.wrong.cause)
    }
}

impl fmt::Display for At<'_> {
    /// To stand behind the name of a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, ":{line}"),
            Self::Item(list, index) => write!(f, ": {list}[{index}]"),
        }
    }
}

impl std::error::Error for ProviderError {}

fn too_large() -> Wrong {
    Wrong::new(format!("it is larger than {MAX_FILE} bytes"))
}

/// Azure's, the largest that is published, has 4 MB.
const MAX_FILE: usize = 16 * 1024 * 1024;
const MAX_NETWORKS: usize = 200_000;
const WRITABLE_BY_OTHERS: u32 = 0o002;
const STICKY: u32 = 0o1000;

#[cfg(test)]
mod tests;
