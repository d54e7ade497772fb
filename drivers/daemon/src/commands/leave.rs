//! `leave`: asks a node over HTTP to leave, since the answer waits for other members.

use super::evict::ask;
use crate::cli::ServerArgs;
use crate::failure::Failure;
use crate::output::print_line;

pub(crate) fn leave(server: &ServerArgs) -> Result<(), Failure> {
    let document = ask("/v1/members/self/leave", server)?;
    let is_over = document["leaving"] != true;
    if server.json {
        print_line(&document.to_string())?;
    } else if is_over {
        let outcome = document["outcome"].as_str().unwrap_or_default();
        print_line(&format!("the node has left: {outcome}"))?;
    } else {
        print_line("the node is leaving: its log will say how many members have everything")?;
    }
    // A lone member has left whole, as far as it could.
    match is_over && document["complete"] != true {
        true => Err(Failure::Not(
            "its data directory may hold the only copy of something".into(),
        )),
        false => Ok(()),
    }
}
