//! Redis's patterns: `*`, `?`, `[a-z]`, `[^a]` and `\` before a character that stands for itself.
//!
//! A pattern is compiled once. A match then walks over the text a single time and keeps the set of places in the pattern that the
//! text read so far can lead to, 64 places to a word, so that no pattern makes it try again.

/// Most bytes of a pattern: room for the longest key, with each byte escaped.
pub const PATTERN_BYTES: usize = 256 << 10;
/// Most elements of a pattern after the characters that it begins with and that stand for themselves. An element is a character, a
/// `?` or a whole class, however long; stars do not count.
pub const PATTERN_ELEMENTS: usize = 1_024;

/// The bytes that an element accepts.
type Set = [u64; 4];

const NO_BYTE: Set = [0; 4];
const ANY_BYTE: Set = [u64::MAX; 4];

/// A pattern that is larger than the limit it names. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// It has so many bytes, more than [`PATTERN_BYTES`].
    #[error("a pattern of {0} bytes: it may have {max}", max = PATTERN_BYTES)]
    Bytes(usize),
    /// It has more than [`PATTERN_ELEMENTS`] elements.
    #[error(
        "a pattern of more than {max} characters and classes after its beginning without wildcards",
        max = PATTERN_ELEMENTS
    )]
    Elements,
}

/// A compiled pattern. It holds its literal beginning, and about 32 bytes for each element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    prefix: Vec<u8>,
    rest: Rest,
}

/// The part of a pattern after its literal beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rest {
    /// The text ends with the beginning.
    Nothing,
    /// A star alone.
    Anything,
    Places(Box<Places>),
}

/// The places of a pattern: place `n` lies before its element `n`, and the last one behind all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Places {
    /// How many elements there are.
    elements: usize,
    /// The row of `steps` for each byte; bytes that the pattern treats alike share one.
    kinds: Box<[u8; 256]>,
    /// Rows of `words` words: from which places a byte of that kind leads to the next place.
    steps: Vec<u64>,
    /// Places at which there is a star.
    stars: Vec<u64>,
    words: usize,
}

impl Pattern {
    /// Compiles a pattern and adds the steps that took to `work`: one for each byte, and 256 for each element.
    ///
    /// # Errors
    /// [`TooLarge`], with the limit.
    pub fn compile(pattern: &[u8], work: &mut usize) -> Result<Pattern, TooLarge> {
        if pattern.len() > PATTERN_BYTES {
            return Err(TooLarge::Bytes(pattern.len()));
        }
        let mut prefix = Vec::new();
        let (mut sets, mut stars) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < pattern.len() {
            let (element, taken) = element(&pattern[at..]);
            at += taken;
            match element {
                Element::Star => stars.push(sets.len()),
                Element::Byte(byte) if sets.is_empty() && stars.is_empty() => prefix.push(byte),
                Element::Byte(byte) => sets.push(with(NO_BYTE, byte)),
                Element::Set(set) => sets.push(set),
            }
            if sets.len() > PATTERN_ELEMENTS {
                return Err(TooLarge::Elements);
            }
            // Stars that follow each other are one.
            stars.dedup();
        }
        *work += pattern.len() + 256 * sets.len();
        let rest = match (sets.is_empty(), stars.is_empty()) {
            (true, true) => Rest::Nothing,
            (true, false) => Rest::Anything,
            _ => Rest::Places(Box::new(Places::new(&sets, &stars))),
        };
        Ok(Pattern { prefix, rest })
    }

    /// The characters that every match begins with.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// How many elements it has after its beginning; see [`PATTERN_ELEMENTS`].
    pub fn elements(&self) -> usize {
        match &self.rest {
            Rest::Places(places) => places.elements,
            _ => 0,
        }
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        let places = match &self.rest {
            Rest::Places(places) => {
                size_of::<Places>() + 256 + (places.steps.len() + places.stars.len()) * 8
            }
            _ => 0,
        };
        size_of::<Pattern>() + self.prefix.len() + places
    }

    /// Whether `text` matches. Adds to `work` the steps that took: at most the length of the text, times one for each 64 elements.
    pub fn matches(&self, text: &[u8], work: &mut usize) -> bool {
        *work += 1 + self.prefix.len().min(text.len()) / 64;
        let Some(text) = text.strip_prefix(&self.prefix[..]) else {
            return false;
        };
        match &self.rest {
            Rest::Nothing => text.is_empty(),
            Rest::Anything => true,
            Rest::Places(places) => places.lead_to_the_end(text, work),
        }
    }
}

impl Places {
    fn new(sets: &[Set], stars: &[usize]) -> Places {
        let words = sets.len() / 64 + 1;
        let mut kinds = Box::new([0; 256]);
        let mut steps: Vec<u64> = Vec::new();
        let mut found = std::collections::HashMap::new();
        for byte in 0..=u8::MAX {
            let mut row = vec![0; words];
            for (place, set) in sets.iter().enumerate() {
                row[place / 64] |= u64::from(has(set, byte)) << (place % 64);
            }
            let next = found.len() as u8;
            kinds[usize::from(byte)] = *found.entry(row).or_insert_with_key(|row| {
                steps.extend_from_slice(row);
                next
            });
        }
        let mut starred = vec![0; words];
        for star in stars {
            starred[star / 64] |= 1 << (star % 64);
        }
        Places {
            elements: sets.len(),
            kinds,
            steps,
            stars: starred,
            words,
        }
    }

    /// Whether the text leads from the first place to the last.
    fn lead_to_the_end(&self, text: &[u8], work: &mut usize) -> bool {
        let mut reached = vec![0_u64; self.words];
        reached[0] = 1;
        // Words before the last star that was reached hold no place that could lead to more.
        let mut first = 0;
        for &byte in text {
            let kind = usize::from(self.kinds[usize::from(byte)]);
            let step = &self.steps[kind * self.words..][..self.words];
            let (mut carry, mut any) = (0, 0);
            for word in first..self.words {
                let here = reached[word];
                let led = here & step[word];
                reached[word] = (led << 1) | carry | (here & self.stars[word]);
                carry = led >> 63;
                any |= reached[word];
            }
            *work += self.words - first;
            if any == 0 {
                return false;
            }
            if let Some(word) = (first..self.words)
                .rev()
                .find(|&word| reached[word] & self.stars[word] != 0)
            {
                first = word;
            }
        }
        reached[self.elements / 64] >> (self.elements % 64) & 1 == 1
    }
}

/// One element of a pattern.
enum Element {
    Star,
    Byte(u8),
    Set(Set),
}

/// The first element of a pattern that is not empty, and how many bytes it takes.
fn element(pattern: &[u8]) -> (Element, usize) {
    match pattern {
        [b'*', ..] => (Element::Star, 1),
        [b'?', ..] => (Element::Set(ANY_BYTE), 1),
        [b'[', rest @ ..] => {
            let (set, taken) = class(rest);
            (Element::Set(set), taken + 1)
        }
        [b'\\', escaped, ..] => (Element::Byte(*escaped), 2),
        _ => (Element::Byte(pattern[0]), 1),
    }
}

/// A class whose opening bracket is taken, and how many bytes it takes. One that is never closed ends with the pattern.
fn class(pattern: &[u8]) -> (Set, usize) {
    let negated = pattern.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut set = NO_BYTE;
    loop {
        match pattern.get(at..).unwrap_or(&[]) {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                set = with(set, *escaped);
                at += 2;
            }
            [from, b'-', to, ..] => {
                set = (*from.min(to)..=*from.max(to)).fold(set, with);
                at += 3;
            }
            [literal, ..] => {
                set = with(set, *literal);
                at += 1;
            }
        }
    }
    let set = if negated { set.map(|word| !word) } else { set };
    (set, at)
}

fn with(mut set: Set, byte: u8) -> Set {
    set[usize::from(byte / 64)] |= 1 << (byte % 64);
    set
}

fn has(set: &Set, byte: u8) -> bool {
    set[usize::from(byte / 64)] >> (byte % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        let compiled = Pattern::compile(pattern, &mut 0).expect("small");
        compiled.matches(text, &mut 0)
    }

    #[test]
    fn patterns_match_as_redis_does() {
        let cases: [(&str, &str, bool); 26] = [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h\\*llo", "h*llo", true),
            ("h\\*llo", "hello", false),
            ("[abc", "a", true),
            ("a[\\]]b", "a]b", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "aXbX", false),
            ("**", "x", true),
            ("a\\", "a\\", true),
            ("?", "", false),
            ("[^a]", "", false),
            ("a**?b", "axb", true),
            ("[]a", "a", false),
            ("*a?", "aab", true),
        ];
        for (pattern, text, expected) in cases {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn a_pattern_knows_the_beginning_of_its_matches() {
        let prefix = |pattern: &[u8]| {
            Pattern::compile(pattern, &mut 0)
                .expect("small")
                .prefix()
                .to_vec()
        };
        assert_eq!(prefix(b"user:*"), b"user:");
        assert_eq!(prefix(b"plain"), b"plain");
        assert_eq!(prefix(b"a\\*b[c]d"), b"a*b");
        assert_eq!(prefix(b"*a"), b"");
    }

    /// The rule, tried in every way.
    fn tried(pattern: &[u8], text: &[u8]) -> bool {
        let Some((first, taken)) = (!pattern.is_empty()).then(|| element(pattern)) else {
            return text.is_empty();
        };
        let rest = &pattern[taken.min(pattern.len())..];
        let set = match first {
            Element::Star => return (0..=text.len()).any(|n| tried(rest, &text[n..])),
            Element::Byte(byte) => with(NO_BYTE, byte),
            Element::Set(set) => set,
        };
        text.split_first()
            .is_some_and(|(byte, text)| has(&set, *byte) && tried(rest, text))
    }

    #[test]
    fn all_ways_through_a_pattern_are_found() {
        arbtest::arbtest(|u| {
            const OF_PATTERN: &[u8] = b"ab*?[]^-\\";
            let mut pattern = Vec::new();
            for _ in 0..u.int_in_range(0..=8)? {
                pattern.push(*u.choose(OF_PATTERN)?);
            }
            let mut text = Vec::new();
            for _ in 0..u.int_in_range(0..=8)? {
                text.push(*u.choose(b"ab]-")?);
            }
            assert_eq!(
                matches(&pattern, &text),
                tried(&pattern, &text),
                "{} on {}",
                pattern.escape_ascii(),
                text.escape_ascii()
            );
            Ok(())
        });
    }

    #[test]
    fn a_pattern_of_several_words_carries_over() {
        for length in [62, 63, 64, 65, 127, 128, 129, PATTERN_ELEMENTS] {
            let pattern = [b"?", &b"ab".repeat(length)[..length - 1]].concat();
            let text = [b"x", &pattern[1..]].concat();
            assert!(matches(&pattern, &text), "{length}");
            assert!(!matches(&pattern, &text[..length - 1]), "{length}");
            let starred = [b"*", &pattern[1..], b"*"].concat();
            let within = [b"abab", &text[..], b"b"].concat();
            assert!(matches(&starred, &within), "{length}");
        }
    }

    #[test]
    fn no_pattern_makes_a_match_try_again() {
        let text = b"a".repeat(64 << 10);
        let class = [b"*[", &b"z".repeat(60_000)[..], b"]*"].concat();
        let stars = [&b"*a".repeat(PATTERN_ELEMENTS - 1)[..], b"*b"].concat();
        let tail = [b"*", &b"a".repeat(PATTERN_ELEMENTS - 1)[..], b"b"].concat();
        for pattern in [class, stars, tail] {
            let compiled = Pattern::compile(&pattern, &mut 0).expect("within the limits");
            let mut work = 0;
            assert!(!compiled.matches(&text, &mut work));
            let words = PATTERN_ELEMENTS / 64 + 1;
            assert!(work <= (text.len() + 1) * words, "{work}");
            assert!(compiled.memory() < 48 << 10, "{}", compiled.memory());
        }
    }

    #[test]
    fn a_pattern_beyond_the_limits_is_refused_with_the_limit() {
        let bytes = Pattern::compile(&vec![b'a'; PATTERN_BYTES + 1], &mut 0);
        assert_eq!(bytes, Err(TooLarge::Bytes(PATTERN_BYTES + 1)));
        let long = [b"*", &vec![b'a'; PATTERN_ELEMENTS + 1][..]].concat();
        let elements = Pattern::compile(&long, &mut 0);
        assert_eq!(elements, Err(TooLarge::Elements));
        let literal = vec![b'a'; 64 << 10];
        assert!(matches(&[&literal[..], b"*"].concat(), &literal));
        assert!(TooLarge::Elements.to_string().contains("1024"));
    }
}
