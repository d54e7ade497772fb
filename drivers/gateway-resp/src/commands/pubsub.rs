//! Subscriptions to keyspace notifications.

use super::{Command, Ctx, Group, NONE, Outcome, PUBSUB};
use crate::decoder::Args;
use crate::encoder::{self, Proto};
use crate::keyspace::{SUBSCRIPTIONS, Watch};

const GROUP: Group = Group::new("pubsub", NONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP.command(
        "subscribe",
        -2,
        PUBSUB,
        "Listen for messages published to the given channels",
        |ctx, args| subscribe(ctx, args, Kind::Channel),
    ),
    GROUP.command(
        "psubscribe",
        -2,
        PUBSUB,
        "Listen for messages published to channels matching the given patterns",
        |ctx, args| subscribe(ctx, args, Kind::Pattern),
    ),
    GROUP.command(
        "unsubscribe",
        -1,
        PUBSUB,
        "Stop listening for messages posted to the given channels",
        |ctx, args| unsubscribe(ctx, args, Kind::Channel),
    ),
    GROUP.command(
        "punsubscribe",
        -1,
        PUBSUB,
        "Stop listening for messages posted to channels matching the given patterns",
        |ctx, args| unsubscribe(ctx, args, Kind::Pattern),
    ),
];

/// Whether a subscribed client may send this in RESP2.
pub(super) fn is_allowed(command: &Command) -> bool {
    command.group == "pubsub" || matches!(command.name, "ping" | "quit" | "reset")
}

#[derive(Clone, Copy)]
enum Kind {
    Channel,
    Pattern,
}

impl Kind {
    fn of(self, watch: &mut Watch) -> &mut std::collections::BTreeSet<Vec<u8>> {
        match self {
            Kind::Channel => &mut watch.channels,
            Kind::Pattern => &mut watch.patterns,
        }
    }
}

/// Appends one confirmation.
fn confirm(out: &mut Vec<u8>, proto: Proto, action: &str, channel: Option<&[u8]>, count: usize) {
    encoder::push(out, proto, 3);
    encoder::bulk(out, action.as_bytes());
    match channel {
        Some(channel) => encoder::bulk(out, channel),
        None => encoder::nil(out, proto),
    }
    encoder::int(out, count as i64);
}

fn subscribe(ctx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let have = ctx.client.watch.as_ref().map_or(0, |watch| watch.count());
    if have + args.len() - 1 > SUBSCRIPTIONS {
        return Err(
            format!("TOOLARGE a client has at most {SUBSCRIPTIONS} channels and patterns").into(),
        );
    }
    let (proto, action) = (ctx.client.proto, ctx.command.name);
    let cursor = ctx.node.view(ctx.now).cursor();
    let watch = ctx
        .client
        .watch
        .get_or_insert_with(|| Box::new(Watch::new(cursor)));
    for channel in args.from(1) {
        kind.of(watch).insert(channel.to_vec());
        confirm(
            ctx.replies.buf(),
            proto,
            action,
            Some(channel),
            watch.count(),
        );
    }
    Ok(())
}

fn unsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    let (proto, action) = (ctx.client.proto, ctx.command.name);
    let mut watch = ctx.client.watch.take();
    let mut channels: Vec<Vec<u8>> = args.from(1).map(<[u8]>::to_vec).collect();
    if let Some(watch) = &mut watch
        && channels.is_empty()
    {
        channels = kind.of(watch).iter().cloned().collect();
    }
    let count = |watch: &Option<Box<Watch>>| watch.as_ref().map_or(0, |watch| watch.count());
    if channels.is_empty() {
        confirm(ctx.replies.buf(), proto, action, None, count(&watch));
    }
    for channel in &channels {
        if let Some(watch) = &mut watch {
            kind.of(watch).remove(channel);
        }
        confirm(
            ctx.replies.buf(),
            proto,
            action,
            Some(channel),
            count(&watch),
        );
    }
    ctx.client.watch = watch.filter(|watch| watch.is_active());
    Ok(())
}
