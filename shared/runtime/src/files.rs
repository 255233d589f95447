//! Open files: every connection is one. A shell's usual limit, 1,024, is there for old programs that count in bit sets, and the
//! system lets each program raise it for itself.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many as are asked for, where so many may be had: what all connections take, and room. Not without end: some programs
/// that are started from here would close each of them, there or not.
const ENOUGH: u64 = 65_536;

/// What a process has open besides its clients' connections: those to its database, its logs and files.
const OTHERS: u64 = 256;

/// Raises this process's limit as far as it may. Best effort: who has too few is told when it matters.
pub fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = hard.min(ENOUGH);
        if soft < wanted {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard);
        }
    }
}

/// Of `most` connections, as many as may be open; says so in a line where that is fewer.
pub(crate) fn connections(most: usize) -> usize {
    let Ok((allowed, _)) = getrlimit(Resource::RLIMIT_NOFILE) else { return most };
    let room = usize::try_from(allowed.saturating_sub(OTHERS)).unwrap_or(usize::MAX).max(1);
    if room < most {
        tracing::warn!("only {room} connections of {most}: {allowed} files may be open (ulimit -n)");
    }
    most.min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_connections_stay_below_it() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 300, hard).unwrap();
        assert_eq!(connections(8_192), 44);
        raise_limit();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard.min(ENOUGH), hard));
        assert_eq!(connections(40), 40);
    }
}
