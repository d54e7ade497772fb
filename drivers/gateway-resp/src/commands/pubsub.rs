//! Subscriptions to keyspace notifications.

use std::sync::Arc;

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
    fn names(self, watch: &Watch) -> Vec<Vec<u8>> {
        match self {
            Kind::Channel => watch.channels().cloned().collect(),
            Kind::Pattern => watch.patterns().cloned().collect(),
        }
    }

    fn remove(self, watch: &mut Watch, name: &[u8]) {
        match self {
            Kind::Channel => watch.remove_channel(name),
            Kind::Pattern => watch.remove_pattern(name),
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
    if args.len() - 1 > SUBSCRIPTIONS {
        return Err(
            format!("TOOLARGE a client has at most {SUBSCRIPTIONS} channels and patterns").into(),
        );
    }
    let (mut channels, mut patterns) = (Vec::new(), Vec::new());
    for name in args.from(1) {
        match kind {
            Kind::Channel => channels.push(name),
            Kind::Pattern => patterns.push((name, ctx.pattern(name)?)),
        }
    }
    let (proto, action) = (ctx.client.proto, ctx.command.name);
    let cursor = ctx.node.view(ctx.now).cursor();
    let shared = Arc::clone(&ctx.client.shared);
    let new = || Box::new(Watch::new(cursor, shared));
    let mut watch = ctx.client.watch.take().unwrap_or_else(new);
    let room = watch.check_room(&channels, &patterns);
    if room.is_ok() {
        for name in channels {
            watch.add_channel(name);
            confirm(ctx.out(), proto, action, Some(name), watch.count());
        }
        for (name, pattern) in patterns {
            watch.add_pattern(name, pattern);
            confirm(ctx.out(), proto, action, Some(name), watch.count());
        }
    }
    ctx.client.watch = watch.is_active().then_some(watch);
    Ok(room?)
}

fn unsubscribe(ctx: &mut Ctx<'_>, args: Args<'_>, kind: Kind) -> Outcome {
    if args.len() - 1 > SUBSCRIPTIONS {
        return Err(
            format!("TOOLARGE a client has at most {SUBSCRIPTIONS} channels and patterns").into(),
        );
    }
    let (proto, action) = (ctx.client.proto, ctx.command.name);
    let mut watch = ctx.client.watch.take();
    let mut channels: Vec<Vec<u8>> = args.from(1).map(<[u8]>::to_vec).collect();
    if let Some(watch) = &mut watch
        && channels.is_empty()
    {
        channels = kind.names(watch);
    }
    let count = |watch: &Option<Box<Watch>>| watch.as_ref().map_or(0, |watch| watch.count());
    if channels.is_empty() {
        confirm(ctx.replies.buf(), proto, action, None, count(&watch));
    }
    for channel in &channels {
        if let Some(watch) = &mut watch {
            kind.remove(watch, channel);
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
