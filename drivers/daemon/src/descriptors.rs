//! File descriptors: as many as the system grants, and how many connections there may be for them.

use std::net::Ipv4Addr;

use rumormill_gateway_http::ServerOptions;
use rumormill_mio::Options;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for all that is no connection of a client or a peer that dials: the store's files, listeners, links that this node
/// dials, and a diagnosis at the worst moment.
const RESERVE: u64 = 512;

/// Most connections of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) peers: usize,
    pub(crate) redis: usize,
    pub(crate) http: usize,
}

/// Raises this process's limit as far as it may. The connections that listeners take by default, or as many as fit.
pub(crate) fn make_room() -> Connections {
    let options = Options::new((Ipv4Addr::LOCALHOST, 0).into());
    let wanted = Connections {
        peers: options.max_accepted,
        redis: options.max_clients,
        http: ServerOptions::default().max_connections,
    };
    let Some(limit) = raise() else {
        return wanted;
    };
    let cut = wanted.within(limit);
    if cut != wanted {
        let Connections { peers, redis, http } = cut;
        tracing::warn!(
            "{limit} file descriptors are enough for {redis} Redis clients, {http} HTTP connections and {peers} peers that dial: \
             raise the limit (ulimit -n) for more"
        );
    }
    cut
}

/// The limit after it was raised; `None` when there is none.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of file descriptors stays");
            current
        }
    }
}

impl Connections {
    /// These, or each in the same proportion when `limit` descriptors are too few for all.
    fn within(self, limit: u64) -> Connections {
        let wanted = self.peers as u64 + self.redis as u64 + self.http as u64;
        let room = limit.saturating_sub(RESERVE).max(limit / 4);
        if wanted <= room {
            return self;
        }
        // A share of a number of descriptors fits where that number does.
        let share = |part: usize| {
            let share = u128::from(room) * part as u128 / u128::from(wanted);
            usize::try_from(share).unwrap_or(part).max(1)
        };
        Connections {
            peers: share(self.peers),
            redis: share(self.redis),
            http: share(self.http),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Connections = Connections {
        peers: 4_096,
        redis: 10_000,
        http: 1_024,
    };

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        assert_eq!(WANTED.within(1 << 20), WANTED);
        assert_eq!(WANTED.within(4_096 + 10_000 + 1_024 + RESERVE), WANTED);
        for limit in [4, 256, 1_024, 4_096, 15_000] {
            let Connections { peers, redis, http } = WANTED.within(limit);
            let all = (peers + redis + http) as u64;
            assert!(peers > 0 && redis >= peers && http > 0, "{limit}");
            let reserve = RESERVE.min(limit - limit / 4 - 1);
            assert!(all + reserve <= limit.max(7), "{limit}: {all}");
        }
    }

    #[test]
    fn the_limit_is_raised_to_what_is_granted() {
        let granted = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise(), granted);
        assert_eq!(getrlimit(Resource::Nofile).current, granted);
    }
}
