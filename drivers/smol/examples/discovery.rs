//! Service discovery with health: instances say in their member record what they serve and where, and a client keeps a list of those that
//! answer by watching the members. One instance is taken out for maintenance, one crashes, one leaves; the list follows.
//!
//! `cargo run -p rumormill-smol --example discovery`

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use rumormill_core::{
    Config, Recovery,
    members::{MemberInfo, MemberState},
};
use rumormill_smol::{Error as Failure, Exit, Handle, MemberWatch, Options, bind, random_seed};
use smol::Task;

const SERVICE: &str = "payments";

/// The instances of a service that answer, by name.
struct Directory {
    members: MemberWatch,
    live: BTreeMap<String, String>,
}

impl Directory {
    fn of(node: &Handle) -> Self {
        Directory {
            members: node.watch_members(),
            live: BTreeMap::new(),
        }
    }

    /// Follows the members until so many instances are live.
    async fn follow_until(&mut self, instances: usize) -> Result<(), Failure> {
        while self.live.len() != instances {
            let members = self.members.next().await.ok_or(Failure::Closed)??;
            let live: BTreeMap<_, _> = members.into_iter().filter_map(instance).collect();
            if live != self.live {
                println!("{SERVICE}: {live:?}");
                self.live = live;
            }
        }
        Ok(())
    }
}

/// Name and endpoint, if this member serves and is not known to be gone. A suspect did not answer lately; it has about a second to refute
/// that, and is worth a try meanwhile.
fn instance(member: MemberInfo) -> Option<(String, String)> {
    match member.state {
        MemberState::Alive | MemberState::Suspect => {}
        _ => return None,
    }
    let endpoint = member.protocols.get(SERVICE)?;
    Some((member.name, endpoint.clone()))
}

type Running = (Handle, Task<Exit>);

async fn start(
    name: &str,
    seeds: &mut Vec<String>,
    serves: Option<&str>,
) -> Result<Running, Box<dyn Error>> {
    let driver = bind(Options::new("127.0.0.1:0".parse()?)).await?;
    let mut config = Config::new(name, &driver.peers_addr().to_string());
    config.seeds.clone_from(seeds);
    seeds.push(config.addr.clone());
    let endpoint = serves.map(|endpoint| (SERVICE.to_string(), endpoint.to_string()));
    config.protocols.extend(endpoint);
    // Deaths are noticed in half a second. The default is for larger clusters and worse networks.
    config.timing.probe_interval = Duration::from_millis(100);
    config.timing.probe_timeout = Duration::from_millis(50);
    let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
    Ok((driver.handle(), smol::spawn(driver.run(node, None))))
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(async {
        let mut seeds = Vec::new();
        let (client, client_runs) = start("shop", &mut seeds, None).await?;
        let mut directory = Directory::of(&client);
        let mut instances = Vec::new();
        for (name, endpoint) in [
            ("payments-1", "10.0.0.1:8080"),
            ("payments-2", "10.0.0.2:8080"),
            ("payments-3", "10.0.0.3:8080"),
        ] {
            instances.push(start(name, &mut seeds, Some(endpoint)).await?);
        }
        directory.follow_until(3).await?;

        println!("payments-1 goes into maintenance, and comes back at another place");
        let (first, _) = &instances[0];
        first.set_protocols(BTreeMap::new()).await?;
        directory.follow_until(2).await?;
        let elsewhere = (SERVICE.to_string(), "10.0.1.1:8080".to_string());
        first.set_protocols(BTreeMap::from([elsewhere])).await?;
        directory.follow_until(3).await?;

        println!("payments-2 is stopped hard, without a word");
        let (_, running) = instances.remove(1);
        running.cancel().await;
        directory.follow_until(2).await?;

        println!("payments-3 leaves");
        let (third, running) = instances.remove(1);
        println!("{}", third.leave().await?);
        running.await;
        directory.follow_until(1).await?;

        for (handle, running) in instances.into_iter().chain([(client, client_runs)]) {
            handle.leave().await?;
            running.await;
        }
        Ok(())
    })
}
