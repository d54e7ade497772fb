//! Three nodes in one process, over the loopback: `cargo run -p rumormill-async-std --features async-std --example cluster_async_std`.

use std::error::Error;

use async_std::task::{self, JoinHandle};

use rumormill_async_std::{Exit, Handle, Options, bind, random_seed};
use rumormill_core::{Config, Recovery, TableId, table::ChangeKind};

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

fn main() -> Result<(), Box<dyn Error>> {
    task::block_on(async {
        let mut nodes: Vec<(Handle, JoinHandle<Exit>)> = Vec::new();
        let mut seeds = Vec::new();
        for name in NAMES {
            let driver = bind(Options::new("127.0.0.1:0".parse()?)).await?;
            let mut config = Config::new(name, &driver.peers_addr().to_string());
            config.seeds.clone_from(&seeds);
            seeds.push(config.addr.clone());
            println!("{name} listens on {}", config.addr);
            let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
            nodes.push((driver.handle(), task::spawn(driver.run(node, None))));
        }
        let (alpha, gamma) = (&nodes[0].0, &nodes[2].0);

        let mut changes = gamma.watch(TableId::DEFAULT).await?;
        alpha
            .put(TableId::DEFAULT, "greeting", "hello from alpha")
            .await?;
        if let Some(change) = changes.next().await
            && let ChangeKind::Put { key, value, .. } = change?.kind
        {
            println!("gamma hears of {key:?}: {value:?}");
        }
        // The first to hear of each other need not have heard of the third.
        let mut members = gamma.watch_members();
        while let Some(known) = members.next().await {
            let known = known?;
            if known.len() == NAMES.len() {
                for member in known {
                    println!("gamma knows {} ({:?})", member.name, member.state);
                }
                break;
            }
        }
        for (handle, running) in nodes.into_iter().rev() {
            println!("{}", handle.leave().await?);
            running.await;
        }
        Ok(())
    })
}
