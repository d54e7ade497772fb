//! A PING every millisecond on a connection of its own, and how long each took.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::resp;

/// The time between two PINGs.
const PERIOD: Duration = Duration::from_millis(1);

/// How long a reply may take before the server counts as stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// PINGs in the background.
pub(super) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<Vec<Duration>>>,
}

impl Probe {
    /// Connects, waits for a first reply, and goes on in the background.
    pub(super) fn start(addr: &str) -> Result<Probe, Failure> {
        let lost = |error| Failure::Unreachable(format!("no PING at {addr}: {error}"));
        let mut socket = resp::connect(addr).map_err(lost)?;
        let ready = |socket: &mut TcpStream| {
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            ping(socket)
        };
        ready(&mut socket).map_err(lost)?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || go_on(&mut socket, &asked));
        Ok(Probe { stop, thread })
    }

    /// Ends it. The times are ascending.
    pub(super) fn stop(self) -> Result<Pings, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let stopped = || Failure::Not("the thread of the PINGs stopped".into());
        let lost = |error| Failure::Unreachable(format!("no reply to a PING: {error}"));
        let mut times = self.thread.join().map_err(|_| stopped())?.map_err(lost)?;
        times.sort_unstable();
        Ok(Pings(times))
    }
}

fn go_on(socket: &mut TcpStream, stop: &AtomicBool) -> std::io::Result<Vec<Duration>> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        ping(socket)?;
        let took = sent.elapsed();
        times.push(took);
        // While one PING waits, those that were due meanwhile would have waited for the rest of its time.
        let mut missed = took.saturating_sub(PERIOD);
        while missed >= PERIOD {
            times.push(missed);
            missed -= PERIOD;
        }
        thread::sleep(PERIOD.saturating_sub(sent.elapsed()));
    }
    Ok(times)
}

fn ping(socket: &mut TcpStream) -> std::io::Result<()> {
    socket.write_all(b"PING\r\n")?;
    let mut reply = [0; 7];
    socket.read_exact(&mut reply)?;
    match &reply == b"+PONG\r\n" {
        true => Ok(()),
        false => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// The times of PINGs, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct Pings(Vec<Duration>);

impl Pings {
    /// The time that so many of a thousand do not exceed, in milliseconds.
    pub(super) fn percentile(&self, per_mille: usize) -> f64 {
        let rank = (self.0.len() * per_mille).div_ceil(1000);
        let time = self.0.get(rank.saturating_sub(1));
        time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let pings = Pings((1..=1_000).map(Duration::from_millis).collect());
        let found = [500, 990, 999, 1000].map(|at| pings.percentile(at));
        assert_eq!(found, [500.0, 990.0, 999.0, 1000.0]);
        assert_eq!(Pings::default().percentile(999), 0.0);
        assert_eq!(Pings(vec![PERIOD]).percentile(999), 1.0);
    }
}
