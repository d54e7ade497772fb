//! The examples, run to their end: what they print is for readers, but each waits for what it shows. `leases` is run with the scenarios,
//! where the promises of its application are judged, and `cluster_async_std` by the gate.

#[path = "../../drivers/smol/examples/cluster_smol.rs"]
mod cluster_smol;
#[path = "../../drivers/tokio/examples/cluster_tokio.rs"]
mod cluster_tokio;
#[path = "../../drivers/smol/examples/discovery.rs"]
mod discovery;
#[path = "../../drivers/smol/examples/feature_flags.rs"]
mod feature_flags;
#[path = "../../core/examples/game_ticks.rs"]
mod game_ticks;
#[path = "../../drivers/kit/examples/own_loop/main.rs"]
mod own_loop;
#[path = "../../drivers/tokio/examples/sessions.rs"]
mod sessions;

use std::fmt::Display;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// An example takes about a second. One that waits in vain is an example that fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn run<E: Display + 'static>(main: fn() -> Result<(), E>) {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(main().map_err(|error| error.to_string())));
    let result = result.recv_timeout(PATIENCE);
    assert_eq!(result, Ok(Ok(())));
}

/// Examples, and a test that runs each.
macro_rules! examples {
    ($($example:ident)*) => { $(
        #[test]
        fn $example() {
            run($example::main);
        }
    )* };
}

examples! {
    cluster_smol
    cluster_tokio
    discovery
    feature_flags
    game_ticks
    own_loop
    sessions
}
