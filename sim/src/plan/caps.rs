//! Limits that are so small that runs meet them.

use rumormill_core::Limits;

macro_rules! caps {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Limits of all nodes of a plan, by the names they have in [`Limits`]; `None` for the usual ones.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Caps {
            $($(#[$doc])* pub $name: Option<u32>,)+
        }

        impl Caps {
            /// The names of all of them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Returns the limits that are set, with their names.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> {
                let named = [$((stringify!($name), self.$name)),+];
                named.into_iter().filter_map(|(name, value)| Some((name, value?)))
            }

            /// The place of the limit of this name.
            pub(crate) fn named(&mut self, name: &str) -> Option<&mut Option<u32>> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }

            pub(crate) fn apply(&self, limits: &mut Limits) {
                $(limits.$name = self.$name.map_or(limits.$name, |cap| cap as usize);)+
            }
        }
    };
}

caps! {
    /// Rows in one message: sessions have several pages.
    rows_per_message,
    /// Actors in contexts that are sent whole: digests are compared first.
    context_actors,
    /// Sessions at once: others are refused.
    sessions,
    /// Keys that may change under a session: it begins anew.
    session_replaced,
    /// Changes kept for watchers: they lag.
    change_log,
    /// Siblings that a write may leave: more are refused.
    siblings,
    /// Members up to which writes are pushed straight to all: above, along a tree.
    direct_push_members,
    /// Members that rows are passed on to: the tree is deep.
    fanout,
    /// Batches that the disk may lag behind: clients are refused.
    store_backlog,
}
