//! The connection itself.

use super::{CONNECTION, Command, Ctx, Group, NONE, Outcome, Sub, integer, is, subcommand};
use crate::decoder::{Args, parse_int};
use crate::encoder::{self, Proto};
use crate::refusal::Refusal;

const GROUP: Group = Group::new("connection", NONE);

pub(super) const COMMANDS: &[Command] = &[
    GROUP.command("ping", -1, CONNECTION, "Ping the server", ping),
    GROUP.command(
        "echo",
        2,
        CONNECTION,
        "Echo the given string",
        |ctx, args| ctx.bulk(args.get(1)),
    ),
    GROUP.command("quit", -1, CONNECTION, "Close the connection", quit),
    GROUP.command("reset", 1, CONNECTION, "Reset the connection", reset),
    GROUP.command("hello", -1, CONNECTION, "Handshake with Redis", hello),
    GROUP.command("auth", -2, CONNECTION, "Authenticate to the server", auth),
    GROUP.command(
        "select",
        2,
        CONNECTION,
        "Change the selected database for the current connection",
        select,
    ),
    GROUP.command(
        "client",
        -2,
        CONNECTION,
        "A container for client connection commands",
        |ctx, args| subcommand(ctx, args, CLIENT),
    ),
];

const CLIENT: &[Sub] = &[
    ("setname", 3, 3, |ctx, args| {
        set_name(ctx, args.get(2))?;
        ctx.ok()
    }),
    ("getname", 2, 2, |ctx, _| match ctx.client.name.is_empty() {
        true => ctx.nil(),
        false => {
            encoder::bulk(ctx.replies.buf(), &ctx.client.name);
            Ok(())
        }
    }),
    ("setinfo", 4, 4, set_info),
    ("id", 2, 2, |ctx, _| {
        let id = ctx.client.id;
        ctx.int(i64::try_from(id).unwrap_or(i64::MAX))
    }),
];

fn ping(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    if args.len() > 2 {
        return Err(Refusal::Arity);
    }
    if ctx.client.watch.is_some() && ctx.client.proto == Proto::Two {
        encoder::array(ctx.out(), 2);
        ctx.bulk(b"pong")?;
        return ctx.bulk(args.get(1));
    }
    if args.len() == 2 {
        return ctx.bulk(args.get(1));
    }
    ctx.out().extend_from_slice(b"+PONG\r\n");
    Ok(())
}

fn quit(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Outcome {
    ctx.client.closing = true;
    ctx.ok()
}

fn reset(ctx: &mut Ctx<'_>, _args: Args<'_>) -> Outcome {
    ctx.client.name.clear();
    ctx.client.proto = Proto::Two;
    ctx.client.watch = None;
    ctx.client.astray = false;
    ctx.client.drop_transaction();
    encoder::simple(ctx.out(), "RESET");
    Ok(())
}

fn select(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let database = integer(args.get(1));
    // The client's next commands were meant for that database, whether it reads this reply or not.
    ctx.client.astray = !matches!(database, Ok(0));
    match database? {
        0 => ctx.ok(),
        _ => Err(Refusal::Text("ERR DB index is out of range")),
    }
}

/// There are no passwords: like Redis without any, the user `default` gets in with whatever it says.
fn authenticate(user: &[u8]) -> Outcome {
    match user {
        b"default" => Ok(()),
        _ => Err(Refusal::Text(
            "WRONGPASS invalid username-password pair or user is disabled.",
        )),
    }
}

fn auth(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    match args.len() {
        2 => Err(Refusal::Text(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        )),
        3 => {
            authenticate(args.get(1))?;
            ctx.ok()
        }
        _ => Err(Refusal::SYNTAX),
    }
}

fn set_name(ctx: &mut Ctx<'_>, name: &[u8]) -> Outcome {
    const MOST: usize = 1024;
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::Text(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ));
    }
    if name.len() > MOST {
        return Err(Refusal::Text("ERR a client name has at most 1024 bytes"));
    }
    ctx.client.name = name.to_vec();
    Ok(())
}

fn set_info(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let option = args.get(2);
    let name = match option {
        _ if is(option, "lib-name") => "lib-name",
        _ if is(option, "lib-ver") => "lib-ver",
        _ => {
            let text = [&b"ERR Unrecognized option '"[..], option, b"'"].concat();
            return Err(Refusal::Bytes(text));
        }
    };
    if !args.get(3).iter().all(u8::is_ascii_graphic) {
        return Err(
            format!("ERR {name} cannot contain spaces, newlines or special characters.").into(),
        );
    }
    ctx.ok()
}

fn hello(ctx: &mut Ctx<'_>, args: Args<'_>) -> Outcome {
    let mut proto = ctx.client.proto;
    if args.len() > 1 {
        proto = match parse_int(args.get(1)) {
            Some(2) => Proto::Two,
            Some(3) => Proto::Three,
            Some(_) => return Err(Refusal::Text("NOPROTO unsupported protocol version")),
            None => {
                return Err(Refusal::Text(
                    "ERR Protocol version is not an integer or out of range",
                ));
            }
        };
    }
    let mut at = 2;
    let mut name = None;
    while at < args.len() {
        let (word, more) = (args.get(at), args.len() - at - 1);
        if is(word, "auth") && more >= 2 {
            authenticate(args.get(at + 1))?;
            at += 3;
        } else if is(word, "setname") && more >= 1 {
            name = Some(args.get(at + 1));
            at += 2;
        } else {
            let text = [&b"ERR Syntax error in HELLO option '"[..], word, b"'"].concat();
            return Err(Refusal::Bytes(text));
        }
    }
    if let Some(name) = name {
        set_name(ctx, name)?;
    }
    ctx.client.proto = proto;
    greet(ctx, proto)
}

fn greet(ctx: &mut Ctx<'_>, proto: Proto) -> Outcome {
    let id = i64::try_from(ctx.client.id).unwrap_or(i64::MAX);
    let version = super::server::REDIS_VERSION.as_bytes();
    encoder::map(ctx.out(), proto, 7);
    ctx.bulk(b"server")?;
    ctx.bulk(b"redis")?;
    ctx.bulk(b"version")?;
    ctx.bulk(version)?;
    ctx.bulk(b"proto")?;
    ctx.int(if proto == Proto::Two { 2 } else { 3 })?;
    ctx.bulk(b"id")?;
    ctx.int(id)?;
    ctx.bulk(b"mode")?;
    ctx.bulk(b"standalone")?;
    ctx.bulk(b"role")?;
    ctx.bulk(b"master")?;
    ctx.bulk(b"modules")?;
    encoder::array(ctx.out(), 0);
    Ok(())
}
