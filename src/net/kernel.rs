//! What only the kernel knows or does: a connection's round-trip time, this process's limits and names. Floor 1.
//!
//! The one file of the program with `unsafe` in it.
#![expect(
    unsafe_code,
    reason = "these calls have no safe wrapper; each block is one call on memory owned here"
)]

use std::{
    ffi::CStr,
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
    ptr,
    time::Duration,
};

use inotify::Inotify;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::{TcpStream, UnixStream},
};

/// What the kernel has counted on one TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFacts {
    /// The shortest round trip it has seen, handshake included; `None` as long as there is no sample.
    /// `tcpi_rtt` is never used: on a database connection it measures how long the application thinks.
    pub min_rtt: Option<Duration>,
    /// Segments sent again since the connection began.
    pub retransmits: u32,
}

/// Reads `TCP_INFO`; `None` where the kernel is too old to know the minimum, or the socket is none.
pub fn tcp_facts(socket: &TcpStream) -> Option<TcpFacts> {
    const NEEDED: usize = mem::offset_of!(libc::tcp_info, tcpi_min_rtt) + size_of::<u32>();
    // SAFETY: `tcp_info` is plain integers, for which all bytes zero is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: `info` and `length` outlive the call, and `length` says how large `info` is.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    // an older kernel fills less of the structure and says so in the length
    if answer != 0 || (length as usize) < NEEDED {
        return None;
    }
    let sampled = info.tcpi_min_rtt != NO_SAMPLE;
    Some(TcpFacts {
        min_rtt: sampled.then(|| Duration::from_micros(u64::from(info.tcpi_min_rtt))),
        retransmits: info.tcpi_total_retrans,
    })
}

/// The shortest round trip the kernel has seen on this connection.
pub fn tcp_min_rtt(socket: &TcpStream) -> Option<Duration> {
    tcp_facts(socket)?.min_rtt
}

/// Lets a task wait for the kernel's notices of files.
pub fn waited_for(notices: Inotify) -> io::Result<AsyncFd<Inotify>> {
    // SAFETY: an `Inotify` owns one descriptor from its making to its end, and gives no other.
    let waited_for = unsafe { AsyncFd::register_with_interest(notices, Interest::READABLE) };
    waited_for.map_err(Into::into)
}

/// Keeps what passes through (passwords, keys) out of core dumps and away from debuggers of the same user.
pub fn forbid_dumps() -> io::Result<()> {
    // SAFETY: takes and returns integers only.
    let answer = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    ok(answer)
}

/// Raises the soft limit of open descriptors to the hard one, and tells it: every session needs two.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    ok(answer)?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` outlives the call.
        let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        ok(answer)?;
    }
    Ok(limit.rlim_cur)
}

/// The effective user of this process.
pub fn user_id() -> u32 {
    // SAFETY: cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}

/// The groups of the process at the other end of a unix socket; empty where the kernel does not tell.
pub fn peer_groups(socket: &UnixStream) -> Vec<u32> {
    let mut groups = vec![0_u32; MOST_GROUPS];
    let Ok(mut length) = libc::socklen_t::try_from(size_of_val(groups.as_slice())) else {
        return Vec::new();
    };
    // SAFETY: `groups` and `length` outlive the call, and `length` says how large `groups` is.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let known = if ok(answer).is_ok() {
        length as usize / size_of::<u32>()
    } else {
        0
    };
    groups.truncate(known);
    groups
}

/// The machine's own name, as `hostname` prints it; `None` if it has none that is text.
pub fn host_name() -> Option<String> {
    let mut name = [0_u8; 256];
    // SAFETY: writes at most `name.len()` bytes to `name`, which outlives the call.
    let answer = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    ok(answer).ok()?;
    let text = CStr::from_bytes_until_nul(&name).ok()?;
    text.to_str()
        .ok()
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// The addresses of this machine, with the names of their interfaces.
pub fn addresses() -> io::Result<Vec<(String, IpAddr)>> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: writes the head of a list to `first`, which outlives the call.
    ok(unsafe { libc::getifaddrs(&raw mut first) })?;
    let (mut found, mut next) = (Vec::new(), first);
    // SAFETY: each entry is the kernel's own list, alive until `freeifaddrs`; null ends it.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        // SAFETY: the name is a string that ends in zero, in the same list.
        let name = unsafe { CStr::from_ptr(entry.ifa_name) };
        // SAFETY: null, or an address as long as its family says.
        if let Some(address) = unsafe { address(entry.ifa_addr) } {
            found.push((name.to_string_lossy().into_owned(), address));
        }
    }
    // SAFETY: the list that was given above, once.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

/// # Safety
/// `address` is null, or points to a socket address that is as long as its family says.
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: as the caller promises.
    let family = unsafe { address.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is an IPv4 address.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is an IPv6 address.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

fn ok(answer: libc::c_int) -> io::Result<()> {
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `tcpi_min_rtt` before the first sample (`tcp_min_rtt()` of the kernel starts at all ones).
const NO_SAMPLE: u32 = u32::MAX;
/// Far over what a user has; one who has more is known by the primary group alone.
const MOST_GROUPS: usize = 1024;

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_handshake_alone_gives_a_round_trip() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let facts = tcp_facts(&accepted).unwrap();
        assert!(facts.min_rtt.unwrap() < Duration::from_secs(1));
        assert_eq!(facts.retransmits, 0);
    }

    #[test]
    fn the_descriptor_limit_is_the_hard_one_afterwards() {
        let raised = raise_descriptor_limit().unwrap();
        assert!(raised > 0);
        assert_eq!(raise_descriptor_limit().unwrap(), raised);
    }

    #[tokio::test]
    async fn the_groups_of_a_peer_are_its_own() {
        let (here, _there) = UnixStream::pair().unwrap();
        let own = std::process::Command::new("id").arg("-G").output().unwrap();
        let own = String::from_utf8(own.stdout).unwrap();
        let mut own: Vec<u32> = own.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let mut told = peer_groups(&here);
        own.sort_unstable();
        told.sort_unstable();
        // the primary group need not be among the supplementary ones
        assert!(
            told.iter().all(|group| own.contains(group)),
            "{told:?} {own:?}"
        );
    }

    #[test]
    fn the_machine_has_a_name() {
        assert!(host_name().is_some());
    }
}
