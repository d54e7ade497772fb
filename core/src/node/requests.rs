//! Requests that wait for an answer.

use alloc::vec::Vec;

use super::Node;
use crate::error::RequestError;
use crate::id::{Seq, Token};
use crate::io::{Request, Response};
use crate::requests::Waits;
use crate::time::Instant;

impl Node {
    /// Takes a request: each ends in one reply, at once or later.
    pub(super) fn request(&mut self, token: Token, deadline: Option<Instant>, request: Request) {
        let limit = self.config.limits.requests;
        if self.requests.len() >= limit && !self.begins_to_go(&request) {
            return self.fx.reply(token, Err(RequestError::Busy { limit }));
        }
        let done = match request {
            Request::Table(request) => {
                return self.modes_door(|modes, env| modes.request(env, token, deadline, request));
            }
            Request::FlushAll => {
                return self.modes_door(|modes, env| {
                    modes.gossip.flush_requested(env, None, token, deadline);
                });
            }
            Request::Join { addr } => {
                self.requests.wait(token, Waits::Join, deadline);
                let (cluster, mut env) = self.cluster_door();
                return cluster.join(&mut env, token, addr);
            }
            Request::Leave => {
                self.requests.wait(token, Waits::Leave, deadline);
                let (cluster, mut env) = self.cluster_door();
                return cluster.leave(&mut env, token);
            }
            Request::Stop => {
                self.requests.wait(token, Waits::Leave, deadline);
                let (cluster, mut env) = self.cluster_door();
                return cluster.stop(&mut env, token);
            }
            Request::Evict { member, force } => {
                self.requests.wait(token, Waits::Evict, deadline);
                let (cluster, mut env) = self.cluster_door();
                return cluster.evict(&mut env, token, &member, force);
            }
            Request::Sync => {
                self.fx.sync_this_turn();
                Ok((self.fx.open_seq(), Response::Synced))
            }
            Request::CreateTable { name, options } => {
                let created = self.create_table(self.fx.now(), &name, options);
                if created.is_ok() {
                    self.fx.sync_this_turn();
                }
                let created = created.map(|(table, seq)| (seq, Response::TableCreated(table)));
                created.map_err(RequestError::Table)
            }
            Request::ChangeSettings { changes } => {
                let changes = changes.iter();
                let changes: Vec<(&str, Option<&str>)> = changes
                    .map(|(name, value)| (name.as_str(), value.as_deref()))
                    .collect();
                let changed = self.change_settings(self.fx.now(), &changes);
                let changed = changed.map(|seq| (seq, Response::SettingsChanged));
                changed.map_err(RequestError::Setting)
            }
            Request::DeclareLost { node } => {
                let (cluster, mut env) = self.cluster_door();
                let lost = cluster.declare_lost(&mut env, &node);
                let lost = lost.map(|node| (self.fx.open_seq(), Response::DeclaredLost(node)));
                lost.map_err(RequestError::Lost)
            }
            Request::Resume => self.resume(),
        };
        self.requests
            .reply_durably(&mut self.fx, token, deadline, done);
    }

    /// Returns whether a request is the first to leave or to stop: a node that is asked too much has to be able to go all the same.
    fn begins_to_go(&self, request: &Request) -> bool {
        match request {
            Request::Leave => self.cluster.leaving.is_none() && !self.cluster.is_stopping(),
            Request::Stop => !self.cluster.is_stopping(),
            _ => false,
        }
    }

    /// Lets this node go on without the members that it waits for.
    fn resume(&mut self) -> Result<(Seq, Response), RequestError> {
        let (cluster, mut env) = self.cluster_door();
        let resumed = cluster.resume(&mut env);
        let seq = self.fx.open_seq();
        let resumed = resumed.map(|without| (seq, Response::Resumed { without }));
        resumed.map_err(RequestError::Resume)
    }

    /// Gives up the requests whose deadline has come.
    pub(super) fn requests_due(&mut self) {
        let now = self.fx.now().mono;
        let (cluster, mut env) = self.cluster_door();
        cluster.joins_due(&mut env);
        for token in self.requests.due(now) {
            self.give_up(token, RequestError::DeadlineExceeded);
        }
    }

    /// Answers a request that still waits with an error.
    pub(super) fn give_up(&mut self, token: Token, error: RequestError) {
        let Some((what, _)) = self.requests.remove(token) else {
            return;
        };
        let open = match what {
            Waits::Durable => self.fx.withdraw(token),
            Waits::Join => {
                self.cluster.links.unask(token);
                true
            }
            // A value's place in the queue is passed over later. A flush cannot be taken back; only its answer is.
            Waits::Table => {
                self.modes.forget(token);
                true
            }
            // Neither can a leave or a stop.
            Waits::Leave => true,
            Waits::Evict => {
                self.cluster.evictions.forget_token(token);
                true
            }
        };
        if open {
            self.fx.reply(token, Err(error));
        }
    }
}
