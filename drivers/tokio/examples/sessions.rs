//! Sessions that expire: a login on one member is known on the other, a visit prolongs it, and silence ends it everywhere. Each member
//! counts an expired session as gone by its own clock, without a message.
//!
//! `cargo run -p rumormill-tokio --example sessions`

use std::error::Error;
use std::time::Duration;

use rumormill_core::{Config, Recovery, TableId, table::ChangeKind};
use rumormill_tokio::{Error as Failure, Handle, Options, bind, random_seed};

const LASTS: Duration = Duration::from_millis(400);

/// Sessions on one member.
struct Sessions {
    node: Handle,
    table: TableId,
}

impl Sessions {
    async fn of(node: Handle) -> Result<Self, Failure> {
        let table = node.table("sessions").await?;
        Ok(Sessions { node, table })
    }

    /// Begins a session, or prolongs it.
    async fn touch(&self, id: &str, user: &str) -> Result<(), Failure> {
        let now = self.node.with(|_, now| now.wall).await?;
        let user = user.to_string();
        self.node
            .put_until(self.table, id.to_string(), user, now + LASTS)
            .await?;
        Ok(())
    }

    async fn user(&self, id: &str) -> Result<Option<String>, Failure> {
        let row = self.node.get(self.table, id.to_string()).await?;
        Ok(row.map(|row| String::from_utf8_lossy(&row.value).into_owned()))
    }

    /// Waits until a session has expired here.
    async fn ended(&self, id: &str) -> Result<(), Failure> {
        let mut changes = self.node.watch(self.table).await?;
        while self.user(id).await?.is_some() {
            match changes.next().await {
                Some(Ok(change)) => match change.kind {
                    ChangeKind::Expired { key } => println!("{key:?} has expired"),
                    other => println!("meanwhile: {other:?}"),
                },
                // Missed changes show in the table.
                Some(Err(Failure::Lagged { .. })) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(Failure::Closed),
            }
        }
        Ok(())
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let (mut nodes, mut seeds) = (Vec::new(), Vec::new());
    for name in ["web-1", "web-2"] {
        let driver = bind(Options::new("127.0.0.1:0".parse()?)).await?;
        let mut config = Config::new(name, &driver.peers_addr().to_string());
        config.seeds.clone_from(&seeds);
        seeds.push(config.addr.clone());
        let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
        nodes.push((driver.handle(), tokio::spawn(driver.run(node, None))));
    }
    let here = Sessions::of(nodes[0].0.clone()).await?;
    let there = Sessions::of(nodes[1].0.clone()).await?;
    let mut arrivals = there.node.watch(there.table).await?;
    here.touch("s-1", "ada").await?;
    arrivals.next().await.ok_or(Failure::Closed)??;
    println!("the other member knows {:?}", there.user("s-1").await?);
    there.touch("s-1", "ada").await?;
    here.ended("s-1").await?;
    println!("and now {:?}", here.user("s-1").await?);
    for (handle, running) in nodes.into_iter().rev() {
        handle.leave().await?;
        running.await?;
    }
    Ok(())
}
