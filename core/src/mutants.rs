//! Planted bugs: each takes away one [rule](../rules.rs), so that the simulator can prove that its checkers notice.
//!
//! They exist only in builds with the feature `mutants`, which no other build turns on, and only one is awake at a time
//! (the field `mutant` of the configuration).

#[cfg(feature = "mutants")]
pub use crate::rules::Mutant;

/// Defines the rules and the planted bugs of a crate from one table. Each entry is a rule as the crate has it, the bug that takes it away, its
/// name, and the harm it does. `rare` marks a bug that a swarm of some thousand seeds may not see. The crate has a feature `mutants`.
/// Attributes in front are those of the implementation of the rules.
#[doc(hidden)]
#[macro_export]
macro_rules! rules {
    ($(#![$attribute:meta])* $($(#[doc = $doc:literal])+ $rule:ident, $mutant:ident = $name:literal, $what:literal $(, $rare:ident)?;)+) => {
        /// The rules of this crate, of which a planted bug takes one away. Without the feature `mutants` each of them is the constant `true`
        /// and leaves no trace in the program.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Rules {
            #[cfg(feature = "mutants")]
            broken: Option<Mutant>,
        }

        $(#[$attribute])*
        impl Rules {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nPlanted bug: `", $name, "`.")]
                #[inline(always)]
                pub(crate) const fn $rule(self) -> bool {
                    #[cfg(feature = "mutants")]
                    let kept = !matches!(self.broken, Some(Mutant::$mutant));
                    #[cfg(not(feature = "mutants"))]
                    let kept = true;
                    kept
                }
            )+
        }

        /// A planted bug.
        #[cfg(feature = "mutants")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Mutant {
            $(#[doc = $what] $mutant,)+
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them.
            pub const ALL: &'static [Mutant] = &[$(Mutant::$mutant),+];

            /// Returns its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Mutant::$mutant => $name,)+
                }
            }

            /// Returns a description of its fault.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Mutant::$mutant => $what,)+
                }
            }

            /// Returns whether it does harm so seldom that a swarm of some thousand seeds may not see it: several things have to go wrong in a
            /// certain order. Or none at all, where direct contact heals the harm before the end: those have tests of their own.
            pub const fn is_rare(self) -> bool {
                match self {
                    $($(Mutant::$mutant => stringify!($rare).len() == 4,)?)+
                    _ => false,
                }
            }
        }
    };
}
pub(crate) use rules;

/// Defines, in a module of tests, a test for each planted bug that another test catches: that fails with these words while the bug is awake on its
/// thread. What a test starts asks `awake` for the bug. `CAUGHT` has the bugs with their tests.
#[doc(hidden)]
#[macro_export]
macro_rules! caught {
    ($($mutant:ident as $name:ident by $test:path, $words:literal;)+) => {
        std::thread_local! {
            static AWAKE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
        }

        /// Returns the bug that is awake on this thread.
        pub(crate) fn awake() -> Option<Mutant> {
            AWAKE.get()
        }

        /// A bug is awake until this is dropped, also by a test that fails.
        struct Planted;

        impl Planted {
            fn new(mutant: Mutant) -> Self {
                AWAKE.set(Some(mutant));
                Planted
            }
        }

        impl Drop for Planted {
            fn drop(&mut self) {
                AWAKE.set(None);
            }
        }

        $(
            #[test]
            #[should_panic(expected = $words)]
            fn $name() {
                let _planted = Planted::new(Mutant::$mutant);
                $test();
            }
        )+

        const CAUGHT: &[(Mutant, &str)] = &[$((Mutant::$mutant, stringify!($test))),+];
    };
}
