//! Replies that wait until what they show is durable.

use rumormill_core::{Node, Now, Seq, TableId, table::Durability};
use rumormill_kit::client_session::Replies;

/// Holds back what shows a row of `table` stored with batch `seq`, if the table promises to sync before that.
pub(crate) fn hold_if_unsynced(
    node: &Node,
    now: Now,
    table: TableId,
    seq: Seq,
    replies: &mut Replies,
) {
    // The default table has no options, so most reads stop here.
    if table != TableId::DEFAULT
        && seq > node.durable()
        && let Some(info) = node.view(now).table_info(table)
        && info.options.durability == Durability::Sync
    {
        replies.hold(seq);
    }
}
