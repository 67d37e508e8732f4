//! The one encoding of JSON: keys in byte order, no white space, every field present.

use crate::error::StoreError;
use crate::layout::MAX_RECORD;
use serde::Serialize;
use std::ops::Range;

/// The bytes of a value, within the limit every reader keeps.
///
/// # Errors
/// [`StoreError::Misuse`] where they are too many.
pub(crate) fn encode<T: Serialize>(value: &T, what: &str) -> Result<Vec<u8>, StoreError> {
    let text = serde_json::to_vec(value).map_err(|e| StoreError::misuse(format!("{what} has no encoding: {e}")))?;
    if text.len() as u64 > MAX_RECORD {
        return Err(StoreError::misuse(format!("{what} of {} bytes; the most is {MAX_RECORD}", text.len())));
    }
    let mut out = Vec::with_capacity(text.len());
    sort(&text, 0, &mut out);
    Ok(out)
}

/// Copies one value with its keys in order; says where the next thing after it begins. `text` is JSON that was just written
/// without white space, so that only nesting has to be followed: its depth is that of the types in the model. Done on the
/// text because a tree of values would take ten times the memory of a record's 32 MiB.
fn sort(text: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    match text[at] {
        b'{' => {
            let begin = out.len();
            let mut members: Vec<(&[u8], Range<usize>)> = Vec::new();
            let mut at = at + 1;
            while text[at] != b'}' {
                if text[at] == b',' {
                    at += 1;
                }
                let end = string_end(text, at);
                let start = out.len();
                out.extend_from_slice(&text[at..=end]);
                let key = &text[at + 1..end - 1];
                at = sort(text, end + 1, out);
                members.push((key, start..out.len()));
            }
            members.sort_by_key(|(key, _)| *key);
            let parts: Vec<&[u8]> = members.into_iter().map(|(_, range)| &out[range]).collect();
            let joined = parts.join(&b',');
            out.truncate(begin);
            out.push(b'{');
            out.extend(joined);
            out.push(b'}');
            at + 1
        }
        b'[' => {
            out.push(b'[');
            let mut at = at + 1;
            while text[at] != b']' {
                if text[at] == b',' {
                    out.push(b',');
                    at += 1;
                }
                at = sort(text, at, out);
            }
            out.push(b']');
            at + 1
        }
        b'"' => {
            let end = string_end(text, at);
            out.extend_from_slice(&text[at..end]);
            end
        }
        _ => {
            let len = text[at..].iter().position(|b| matches!(b, b',' | b']' | b'}')).unwrap_or(text.len() - at);
            out.extend_from_slice(&text[at..at + len]);
            at + len
        }
    }
}

/// One past the closing quote of the string that begins here.
fn string_end(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Writes a value with its keys in falling order.
    struct Falling<'a>(&'a Value);

    impl Serialize for Falling<'_> {
        fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Value::Object(members) => s.collect_map(members.iter().rev().map(|(k, v)| (k, Falling(v)))),
                Value::Array(items) => s.collect_seq(items.iter().map(Falling)),
                other => other.serialize(s),
            }
        }
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value = json!({"b": [{"z": 1, "a\"}": "x,\"]"}, []], "a": {"ab": null, "a": -1.0, "a!": {}}, "": true});
        let text = encode(&Falling(&value), "a test").unwrap();
        let expected = r#"{"":true,"a":{"a":-1.0,"a!":{},"ab":null},"b":[{"a\"}":"x,\"]","z":1},[]]}"#;
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z{}\\[\\],:\"\\\\]{0,3}", inner, 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_text(value in values()) {
            let text = encode(&Falling(&value), "a test").unwrap();
            prop_assert_eq!(&text, &encode(&value, "a test").unwrap());
            prop_assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), value);
        }
    }
}
