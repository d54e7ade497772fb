//! Commands on hashes whose tables answer later. Each is one operation, which a slot waits for; then the command is executed again and finds the
//! answer.

use bytes::Bytes;
use rumormill_core::{
    TableId,
    errors::RequestError,
    io::Response,
    table::{Accepted, Caller, TableOp, TableRequest},
};

use super::{Ctx, Outcome};
use crate::refusal::Refusal;

/// Appends the value of a field, or nil where there is none.
pub(super) fn get(ctx: &mut Ctx<'_>, table: TableId, key: &[u8]) -> Outcome {
    let key = Bytes::copy_from_slice(key);
    match answer(ctx, table, TableOp::Get { key })? {
        Response::Row(Some(row)) => ctx.bulk(&row.value),
        Response::Row(None) => ctx.nil(),
        Response::Siblings(_) => Err(Refusal::SIBLINGS),
        other => Err(unexpected(&other)),
    }
}

/// Writes a field.
pub(super) fn write(ctx: &mut Ctx<'_>, table: TableId, op: TableOp) -> Result<Accepted, Refusal> {
    match answer(ctx, table, op)? {
        Response::Written(accepted) => Ok(accepted),
        other => Err(unexpected(&other)),
    }
}

/// Returns the answer to an operation, or refuses until it has come.
fn answer(ctx: &mut Ctx<'_>, table: TableId, op: TableOp) -> Result<Response, Refusal> {
    let key = op.key().cloned().unwrap_or_default();
    match ctx.client.loaded.take(&(table, key)) {
        Some(answer) => answer.map_err(|error: RequestError| error.into()),
        None => {
            let name = String::from_utf8_lossy(&ctx.client.name);
            let caller = Caller::Client { name: name.into() };
            let request = TableRequest::new(table, op).caller(caller);
            Err(Refusal::Ask(Box::new(request)))
        }
    }
}

fn unexpected(response: &Response) -> Refusal {
    format!("ERR unexpected answer {response:?}").into()
}
