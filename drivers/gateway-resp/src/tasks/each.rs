//! One step per argument, for commands that name any number of keys.

use rumormill_kit::client_session::Flow;

use crate::client::{Ctx, Job, Piece};
use crate::decoder::Args;
use crate::refusal::Refusal;
use crate::work;

/// Steps in one piece.
const PIECE: usize = 1_024;

/// Does one step, for the argument at this place; what it adds to the count.
pub(crate) type Step = fn(&mut Ctx<'_>, Args<'_>, usize) -> Result<i64, Refusal>;

/// Steps for the arguments from `first` on, and then the reply. The first step that is refused ends it with an error; what came before
/// it stays done.
#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) first: usize,
    /// From one argument to the next.
    pub(crate) stride: usize,
    pub(crate) step: Step,
    /// Steps for the same arguments after all of those.
    pub(crate) then: Option<Step>,
    pub(crate) count: i64,
    /// Writes the reply.
    pub(crate) finish: fn(&mut Ctx<'_>, i64) -> Result<(), Refusal>,
    /// The argument whose turn it is.
    pub(crate) at: usize,
}

impl Each {
    /// A step for each argument from `first` on, `stride` apart, and then the reply with the sum of what they counted.
    pub(crate) fn new(
        first: usize,
        stride: usize,
        step: Step,
        finish: fn(&mut Ctx<'_>, i64) -> Result<(), Refusal>,
    ) -> Each {
        Each {
            first,
            stride,
            step,
            then: None,
            count: 0,
            finish,
            at: first,
        }
    }
}

impl Job for Each {
    fn pump(&mut self, ctx: &mut Ctx<'_>, args: Args<'_>) -> Result<Piece, Refusal> {
        let most = if ctx.client.is_whole {
            usize::MAX
        } else {
            PIECE
        };
        for _ in 0..most {
            if !ctx.has_flushed() {
                let lags = ctx.node.pressure();
                return Ok(Piece::Pause(if lags { Flow::Store } else { Flow::Yield }));
            }
            if self.at >= args.len()
                && let Some(then) = self.then.take()
            {
                (self.step, self.at) = (then, self.first);
            }
            if self.at >= args.len() {
                (self.finish)(ctx, self.count)?;
                return Ok(Piece::Done);
            }
            if ctx.client.work.is_spent() && !ctx.client.is_whole {
                break;
            }
            let may_wait = !ctx.client.is_whole && ctx.command.writes(args);
            if may_wait && ctx.node.pressure() {
                return Ok(Piece::Pause(Flow::Store));
            }
            ctx.client.work.spend(work::ROW);
            self.count += (self.step)(ctx, args, self.at)?;
            self.at += self.stride;
        }
        Ok(Piece::Pause(Flow::Yield))
    }
}
