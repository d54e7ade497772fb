//! Dissemination in large clusters: each origin's rows go down a tree of their own, and what does not arrive is asked for.
//!
//! After Leitao, Pereira and Rodrigues, "Epidemic Broadcast Trees" (SRDS 2007): rows are pushed eagerly along a tree, small IHAVEs
//! of their dots lazily to a few others, which graft what does not arrive. Here the tree is not what is left after pruning a shared
//! overlay: a message names the subtree, a part of the ring of ids, for which each of its receivers answers, as in El-Ansary and others,
//! "Efficient Broadcast in Structured P2P Networks" (IPTPS 2003). Subtrees never overlap, so there are no duplicates to prune,
//! whatever the members on the way know of each other.

mod graft;
mod lazy;
mod subtree;
#[cfg(test)]
mod tests;

pub(crate) use lazy::{Lazy, Verdict, partners};
pub(crate) use subtree::{Fit, Subtree};
