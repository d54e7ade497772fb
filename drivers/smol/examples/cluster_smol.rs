//! Three nodes in one process, over the loopback: `cargo run -p rumormill-smol --example cluster_smol`.

use std::error::Error;

use rumormill_core::{Config, Recovery, TableId, table::ChangeKind};
use rumormill_smol::{Exit, Handle, Options, bind, random_seed};
use smol::Task;

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(async {
        let mut nodes: Vec<(Handle, Task<Exit>)> = Vec::new();
        let mut seeds = Vec::new();
        for name in NAMES {
            let driver = bind(Options::new("127.0.0.1:0".parse()?)).await?;
            let mut config = Config::new(name, &driver.peers_addr().to_string());
            config.seeds.clone_from(&seeds);
            seeds.push(config.addr.clone());
            println!("{name} listens on {}", config.addr);
            let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
            nodes.push((driver.handle(), smol::spawn(driver.run(node, None))));
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
