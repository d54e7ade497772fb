//! The server: what it is and what it can do.

use std::fmt::Write as _;

use rumormill_core::{TableId, members::NodePhase};

use super::{ADMIN, Command, Ctx, Group, NONE, Outcome, Sub, all, find, is, subcommand};
use crate::decoder::Args;
use crate::encoder;
use crate::refusal::Refusal;

/// The version of Redis whose replies are given.
pub(super) const REDIS_VERSION: &str = "7.0.15";

const GROUP: Group = Group::new("server", NONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP.command(
        "info",
        -1,
        ADMIN,
        "Get information and statistics about the server",
        info,
    ),
    GROUP.command(
        "command",
        -1,
        ADMIN,
        "Get array of Redis command details",
        |ctx, args| match args.len() {
            1 => describe_all(ctx),
            _ => subcommand(ctx, args, COMMAND),
        },
    ),
    GROUP.command(
        "rumormill",
        -2,
        ADMIN,
        "Describe the node as JSON: STATUS, MEMBERS, MEMBERS LIVE, TABLES, TABLE name or SETTINGS; SET key value and DEL key change the string of a key only",
        |ctx, args| match STRINGS.iter().any(|(name, ..)| is(args.get(1), name)) {
            true => subcommand(ctx, args, STRINGS),
            false => describe_node(ctx, args),
        },
    ),
    GROUP.command(
        "config",
        -2,
        ADMIN,
        "A container for server configuration commands",
        |ctx, args| subcommand(ctx, args, super::config::CONFIG),
    ),
];

/// Commands on rows of the table `default`, for clients that name the table: they must not replace a hash whose name is the key.
const STRINGS: &[Sub] = &[
    ("set", 4, 4, |ctx, args| {
        super::strings::put_row(ctx, args.get(2), args.get(3), None)?;
        ctx.ok()
    }),
    ("del", 3, 3, |ctx, args| {
        let existed = super::keys::del_row(ctx, args.get(2))?;
        ctx.int(i64::from(existed))
    }),
];

const COMMAND: &[Sub] = &[
    ("count", 2, 2, |ctx, _| ctx.int(all().count() as i64)),
    ("docs", 2, usize::MAX, docs),
    ("info", 2, usize::MAX, |ctx, args| {
        if args.len() == 2 {
            return describe_all(ctx);
        }
        check_count(args)?;
        encoder::array(ctx.out(), args.len() - 2);
        args.from(2).try_for_each(|name| match find(name) {
            Some(command) => describe(ctx, command),
            None => {
                let proto = ctx.client.proto;
                encoder::nil_array(ctx.out(), proto);
                Ok(())
            }
        })
    }),
    ("list", 2, 2, |ctx, _| {
        encoder::array(ctx.out(), all().count());
        all().try_for_each(|command| ctx.bulk(command.name.as_bytes()))
    }),
];

/// Refuses names that would make a reply of any length: to ask for all commands takes fewer.
fn check_count(args: Args<'_>) -> Outcome {
    let (names, limit) = (args.len() - 2, all().count());
    match names <= limit {
        true => Ok(()),
        false => Err(format!("TOOLARGE {names} names: there are {limit} commands").into()),
    }
}

fn describe_all(ctx: &mut Ctx<'_>) -> Outcome {
    encoder::array(ctx.out(), all().count());
    all().try_for_each(|command| describe(ctx, command))
}

fn describe(ctx: &mut Ctx<'_>, command: &Command) -> Outcome {
    let proto = ctx.client.proto;
    let out = ctx.out();
    encoder::array(out, 10);
    encoder::bulk(out, command.name.as_bytes());
    encoder::int(out, i64::from(command.arity));
    encoder::set(out, proto, command.flags.len());
    for flag in command.flags {
        encoder::simple(out, flag);
    }
    let (first, last, step) = command.keys;
    for place in [first, last, step] {
        encoder::int(out, i64::from(place));
    }
    encoder::set(out, proto, 1);
    encoder::simple(out, &format!("@{}", command.group));
    // Tips, key specifications and subcommands: none.
    encoder::array(out, 0);
    encoder::array(out, 0);
    encoder::array(out, 0);
    Ok(())
}

fn docs(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    check_count(args)?;
    let named: Vec<&Command> = args.from(2).filter_map(find).collect();
    let shown: Vec<&Command> = if args.len() == 2 {
        all().collect()
    } else {
        named
    };
    let proto = ctx.client.proto;
    let out = ctx.out();
    encoder::map(out, proto, shown.len());
    for command in shown {
        encoder::bulk(out, command.name.as_bytes());
        encoder::map(out, proto, 2);
        encoder::bulk(out, b"summary");
        encoder::bulk(out, command.summary.as_bytes());
        encoder::bulk(out, b"group");
        encoder::bulk(out, command.group.as_bytes());
    }
    Ok(())
}

type Section = (&'static str, fn(&Ctx<'_>, &mut String));

const SECTIONS: [Section; 9] = [
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
    ("Rumormill", rumormill),
];

fn info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let everything = |word: &[u8]| is(word, "all") || is(word, "everything") || is(word, "default");
    let wanted =
        |name: &str| args.len() == 1 || args.from(1).any(|word| everything(word) || is(word, name));
    let mut text = String::new();
    for (name, write) in SECTIONS.into_iter().filter(|(name, _)| wanted(name)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        field(&mut text, format_args!("# {name}"));
        write(ctx, &mut text);
    }
    let proto = ctx.client.proto;
    encoder::verbatim(ctx.out(), proto, text.as_bytes());
    Ok(())
}

fn field(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{line}\r\n");
}

fn server(ctx: &Ctx<'_>, text: &mut String) {
    use std::sync::atomic::Ordering::Relaxed;
    let stats = &ctx.client.shared.stats;
    let uptime = stats.uptime_secs(ctx.now.mono);
    field(text, format_args!("redis_version:{REDIS_VERSION}"));
    field(text, format_args!("redis_mode:standalone"));
    field(
        text,
        format_args!("rumormill_version:{}", env!("CARGO_PKG_VERSION")),
    );
    field(text, format_args!("arch_bits:{}", usize::BITS));
    field(
        text,
        format_args!("process_id:{}", stats.process_id.load(Relaxed)),
    );
    field(text, format_args!("run_id:{}", ctx.node.actor()));
    field(
        text,
        format_args!("tcp_port:{}", stats.tcp_port.load(Relaxed)),
    );
    field(text, format_args!("uptime_in_seconds:{uptime}"));
    field(text, format_args!("uptime_in_days:{}", uptime / 86_400));
}

fn clients(ctx: &Ctx<'_>, text: &mut String) {
    let stats = &ctx.client.shared.stats;
    field(text, format_args!("connected_clients:{}", stats.clients()));
    // No command blocks: the ones that would are not there.
    field(text, format_args!("blocked_clients:0"));
}

/// Shows the memory of the process: what a row takes is known to the allocator alone.
fn memory(ctx: &Ctx<'_>, text: &mut String) {
    let ask = ctx.client.shared.stats.used_memory.get();
    if let Some(used) = ask.and_then(|ask| ask()) {
        let mib = used as f64 / f64::from(1 << 20);
        field(text, format_args!("used_memory:{used}"));
        field(text, format_args!("used_memory_human:{mib:.2}M"));
        field(text, format_args!("used_memory_rss:{used}"));
    }
    field(text, format_args!("maxmemory:0"));
    field(text, format_args!("maxmemory_policy:noeviction"));
}

/// Clients that look at `loading` wait: a node that is joining lacks rows that its cluster has. It answers reads all the same.
fn persistence(ctx: &Ctx<'_>, text: &mut String) {
    let loading = ctx.node.phase() == NodePhase::Joining;
    field(text, format_args!("loading:{}", u8::from(loading)));
}

fn stats(ctx: &Ctx<'_>, text: &mut String) {
    let [connections, commands] = ctx.client.shared.stats.since_reset();
    field(
        text,
        format_args!("total_connections_received:{connections}"),
    );
    field(text, format_args!("total_commands_processed:{commands}"));
}

/// A node is no node of a Redis Cluster: a client need not ask where a key is.
fn cluster(_ctx: &Ctx<'_>, text: &mut String) {
    field(text, format_args!("cluster_enabled:0"));
}

fn replication(ctx: &Ctx<'_>, text: &mut String) {
    let members = ctx.node.status(ctx.now).members;
    field(text, format_args!("role:master"));
    field(text, format_args!("connected_slaves:0"));
    field(text, format_args!("connected_members:{members}"));
}

fn keyspace(ctx: &Ctx<'_>, text: &mut String) {
    let keys = super::keys::count(ctx);
    if keys > 0 {
        // Hashes have no expiry, but fields written over HTTP may: they are counted too.
        let expires = ctx.node.view(ctx.now).expiring_rows();
        field(
            text,
            format_args!("db0:keys={keys},expires={expires},avg_ttl=0"),
        );
    }
}

fn rumormill(ctx: &Ctx<'_>, text: &mut String) {
    let status = ctx.node.status(ctx.now);
    let strings = ctx.node.view(ctx.now).len(TableId::DEFAULT).unwrap_or(0);
    field(text, format_args!("node:{}", status.id));
    field(text, format_args!("name:{}", status.name.escape_default()));
    field(text, format_args!("cluster:{}", status.cluster));
    field(text, format_args!("phase:{}", status.phase));
    field(text, format_args!("members:{}", status.members));
    field(text, format_args!("links:{}", status.links));
    field(text, format_args!("rows:{}", status.rows));
    field(text, format_args!("strings:{strings}"));
    field(text, format_args!("tables:{}", status.tables));
    field(text, format_args!("tombstones:{}", status.tombstones));
    field(text, format_args!("hidden_rows:{}", status.hidden_rows));
    field(text, format_args!("hidden_bytes:{}", status.hidden_bytes));
    field(text, format_args!("stray_rows:{}", status.stray_rows()));
    if let Some(clocks) = status.hidden_until {
        field(text, format_args!("hidden_wait_because:{clocks}"));
    }
    for waits in &status.waiting_for {
        let (id, name) = (waits.node, waits.name.escape_default());
        field(
            text,
            format_args!("tombstones_wait_for_{id}:{name} {}", waits.why),
        );
    }
    for waits in &status.rejoin_through {
        let (id, name) = (waits.node, waits.name.escape_default());
        field(text, format_args!("rejoin_through_{id}:{name}"));
    }
    for (number, awaits) in status.awaits.iter().enumerate() {
        let because = awaits.to_string();
        let because = because.escape_default();
        field(text, format_args!("phase_because_{number}:{because}"));
    }
    if let Some(damage) = &status.damage {
        field(text, format_args!("damage:{}", damage.escape_default()));
    }
    for clock in &status.wrong_clocks {
        let (id, name) = (clock.node, clock.name.escape_default());
        let by_ms = clock.by_ms;
        field(
            text,
            format_args!("wrong_clock_{id}:{name} {by_ms} ms ahead"),
        );
    }
    field(
        text,
        format_args!("store_stalled:{}", u8::from(status.stalled)),
    );
}

fn describe_node(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(Refusal::Arity);
    }
    let topic = String::from_utf8_lossy(args.get(1)).to_ascii_lowercase();
    let name = (args.len() == 3).then(|| String::from_utf8_lossy(args.get(2)));
    let describe = ctx.client.shared.describe;
    match describe(ctx.node, ctx.now, &topic, name.as_deref()) {
        Some(json) => ctx.bulk(json.as_bytes()),
        None => Err(format!("ERR unknown subcommand '{topic}'").into()),
    }
}
