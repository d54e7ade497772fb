//! Connections that are kept for probes when all others are in use.
//!
//! Nothing tells a probe from any other connection before it has sent its request, so every connection beyond the limit gets one of
//! these places for as long as it takes to read a request. A request that is no probe is refused then. When all
//! places are taken the oldest one goes to the newcomer, once it has had time to send a request: connections that send
//! nothing pass through, and a probe waits for its turn at most.

use std::collections::VecDeque;
use std::future::Future;
use std::time::{Duration, Instant};

use smol::{LocalExecutor, Task, Timer};

use crate::traffic::{HttpMetrics, Rejected};

/// How long a connection may keep its place though others wait for one.
const TURN: Duration = Duration::from_millis(100);

/// Places for probes.
pub(crate) struct Reserve {
    size: usize,
    /// The connections that have a place, and since when: the oldest first.
    places: VecDeque<(Instant, Task<()>)>,
}

impl Reserve {
    /// So many places, at least one.
    pub(crate) fn new(size: usize) -> Reserve {
        Reserve {
            size: size.max(1),
            places: VecDeque::new(),
        }
    }

    /// Gives a connection a place, and waits for one if need be. O(places).
    pub(crate) async fn admit<'a>(
        &mut self,
        executor: &LocalExecutor<'a>,
        connection: impl Future<Output = ()> + 'a,
        metrics: &HttpMetrics,
    ) {
        self.places.retain(|(_, task)| !task.is_finished());
        if self.places.len() >= self.size
            && let Some((since, oldest)) = self.places.pop_front()
        {
            let rest = TURN.saturating_sub(since.elapsed());
            let served = async {
                oldest.await;
                true
            };
            let late = async {
                Timer::after(rest).await;
                false
            };
            if !smol::future::or(served, late).await {
                metrics.reject(Rejected::ProbeReserve);
            }
        }
        let task = executor.spawn(connection);
        self.places.push_back((Instant::now(), task));
    }
}
