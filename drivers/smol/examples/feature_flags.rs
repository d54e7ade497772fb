//! Feature flags: every instance of a service holds them all in memory and hears of each change. Any member changes them.
//!
//! `cargo run -p rumormill-smol --example feature_flags`

use std::collections::BTreeMap;
use std::error::Error;

use rumormill_core::{Config, Recovery, TableId, table::ChangeKind};
use rumormill_smol::{Error as Failure, Handle, Options, bind, random_seed};

/// The flags as one instance knows them: reading one costs a look into a map.
struct Flags {
    on: BTreeMap<String, bool>,
    table: TableId,
    node: Handle,
}

impl Flags {
    /// All flags of now, page by page.
    async fn load(node: Handle, table: TableId) -> Result<Self, Failure> {
        let (mut on, mut after) = (BTreeMap::new(), None);
        loop {
            let page = node.scan(table, "", after).await?;
            for (key, row) in page.rows {
                on.insert(text(&key), *row.value == *b"on");
            }
            after = page.next;
            if after.is_none() {
                return Ok(Flags { on, table, node });
            }
        }
    }

    /// Follows changes until `name` has been seen on, or the node is gone. A follower that lags behind the log begins anew with a scan, so
    /// that memory never grows with what is unread.
    async fn follow_until_on(&mut self, name: &str) -> Result<(), Failure> {
        let mut changes = self.node.watch(self.table).await?;
        *self = Flags::load(self.node.clone(), self.table).await?;
        while !self.is_on(name) {
            match changes.next().await {
                Some(Ok(change)) => self.apply(change.kind),
                Some(Err(Failure::Lagged { .. })) => {
                    *self = Flags::load(self.node.clone(), self.table).await?;
                }
                Some(Err(error)) => return Err(error),
                None => return Err(Failure::Closed),
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: ChangeKind) {
        match change {
            ChangeKind::Put { key, value, .. } => {
                let on = value.is_some_and(|value| *value == *b"on");
                self.on.insert(text(&key), on);
            }
            ChangeKind::Deleted { key } | ChangeKind::Expired { key } => {
                self.on.remove(&text(&key));
            }
            ChangeKind::Flushed { .. } => self.on.clear(),
            // A table of flags keeps one value per key.
            _ => {}
        }
    }

    fn is_on(&self, name: &str) -> bool {
        self.on.get(name).copied().unwrap_or(false)
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(async {
        let (mut nodes, mut seeds) = (Vec::new(), Vec::new());
        for name in ["shop-1", "shop-2"] {
            let driver = bind(Options::new("127.0.0.1:0".parse()?)).await?;
            let mut config = Config::new(name, &driver.peers_addr().to_string());
            config.seeds.clone_from(&seeds);
            seeds.push(config.addr.clone());
            let node = Recovery::new(config, random_seed()?).finish(driver.now())?;
            nodes.push((driver.handle(), smol::spawn(driver.run(node, None))));
        }
        let (operator, shop) = (nodes[0].0.clone(), nodes[1].0.clone());
        let table = operator.table("flags").await?;
        operator.put(table, "gift-wrapping", "off").await?;

        let there = shop.table("flags").await?;
        let mut flags = Flags::load(shop, there).await?;
        println!("gift wrapping: {}", flags.is_on("gift-wrapping"));
        operator.put(table, "gift-wrapping", "on").await?;
        flags.follow_until_on("gift-wrapping").await?;
        println!("gift wrapping: {}", flags.is_on("gift-wrapping"));

        for (handle, running) in nodes.into_iter().rev() {
            println!("{}", handle.leave().await?);
            running.await;
        }
        Ok(())
    })
}
