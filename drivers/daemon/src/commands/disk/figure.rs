//! A figure beside its goal.

use serde_json::{Value, json};

/// One figure.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) what: String,
    /// The median, if it could be measured.
    pub(super) measured: Option<f64>,
    /// The same of something else, and its name.
    pub(super) beside: Option<f64>,
    pub(super) name: &'static str,
    pub(super) goal: Goal,
}

/// How large a figure may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    None,
    /// At most so many times that beside it.
    AtMost(f64),
    /// At least so many times that beside it.
    AtLeast(f64),
}

impl Figure {
    fn times(&self) -> Option<f64> {
        let (measured, beside) = (self.measured?, self.beside?);
        (beside > 0.0).then(|| measured / beside)
    }

    /// Whether the goal is missed; not where nothing was measured beside it.
    fn is_missed(&self) -> bool {
        self.times().is_some_and(|times| match self.goal {
            Goal::None => false,
            Goal::AtMost(goal) => times > goal,
            Goal::AtLeast(goal) => times < goal,
        })
    }

    pub(super) fn to_row(&self) -> Vec<String> {
        let shown = |value: Option<f64>| value.map_or(String::new(), short);
        let mark = if self.is_missed() { "!" } else { "" };
        let name = self.beside.map_or("", |_| self.name);
        let times = self
            .times()
            .map_or(String::new(), |times| format!("{times:.2}{mark}"));
        let goal = match self.goal {
            Goal::None => String::new(),
            Goal::AtMost(goal) => format!("<= {goal}"),
            Goal::AtLeast(goal) => format!(">= {goal}"),
        };
        vec![
            self.what.clone(),
            shown(self.measured),
            shown(self.beside),
            name.into(),
            times,
            goal,
        ]
    }

    pub(super) fn to_json(&self) -> Value {
        let goal = match self.goal {
            Goal::None => Value::Null,
            Goal::AtMost(goal) => json!({ "at_most": goal }),
            Goal::AtLeast(goal) => json!({ "at_least": goal }),
        };
        json!({
            "what": self.what, "measured": self.measured, "beside": self.beside, "name": self.name,
            "times": self.times(), "goal": goal, "missed": self.is_missed(),
        })
    }
}

/// A number with three digits or more.
fn short(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.2}"),
        0.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(measured: f64, goal: Goal) -> Figure {
        Figure {
            what: "a write, us".into(),
            measured: Some(measured),
            beside: Some(2.0),
            name: "another",
            goal,
        }
    }

    #[test]
    fn a_figure_beyond_its_goal_is_marked() {
        let row = |measured, goal| figure(measured, goal).to_row()[4].clone();
        assert_eq!(row(2.2, Goal::AtMost(1.1)), "1.10");
        assert_eq!(row(2.3, Goal::AtMost(1.1)), "1.15!");
        assert_eq!(row(2.0, Goal::AtLeast(1.0)), "1.00");
        assert_eq!(row(1.0, Goal::AtLeast(1.0)), "0.50!");
        assert_eq!(row(9.0, Goal::None), "4.50");
    }

    #[test]
    fn nothing_is_missed_where_nothing_is_beside() {
        let alone = Figure {
            beside: None,
            ..figure(9.0, Goal::AtMost(1.0))
        };
        let row = ["a write, us", "9.00", "", "", "", "<= 1"].map(String::from);
        assert_eq!(alone.to_row(), row);
        assert!(!alone.is_missed());
    }
}
