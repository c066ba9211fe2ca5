//! W3C trace context: a request's trace goes on in all that it leads to, until a provider has taken it.

use uuid::Uuid;

/// How long a `traceparent` is.
const LENGTH: usize = 55;

/// The `traceparent` of a new span: in the trace of `parent` when that is valid, else in a new one. The ids are no secrets.
#[must_use]
pub fn child_of(parent: Option<&str>) -> String {
    let mut random = [0; 32];
    let random = Uuid::from_u128(fastrand::u128(1..)).simple().encode_lower(&mut random);
    let mut child = String::with_capacity(LENGTH);
    child.push_str("00-");
    child.push_str(parent.and_then(trace_id).unwrap_or(random));
    child.push('-');
    let mut span = [0; 32];
    child.push_str(&Uuid::from_u128(fastrand::u64(1..).into()).simple().encode_lower(&mut span)[16..]);
    child.push_str("-01");
    child
}

/// The trace id of a valid `traceparent`.
#[must_use]
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let (version, trace, span) = (fields.next()?, fields.next()?, fields.next()?);
    let hex = |field: &str, length| {
        field.len() == length && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let set = |field: &str| field.bytes().any(|byte| byte != b'0');
    (version == "00" && hex(trace, 32) && set(trace) && hex(span, 16) && set(span)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_parent_gives_its_trace_and_a_new_span() {
        let child = child_of(Some(PARENT));
        assert_eq!(trace_id(&child), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_ne!(child, PARENT);
    }

    #[test]
    fn anything_else_starts_a_new_trace() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for bad in ["", "00-xyz", zeros, "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(bad), None, "{bad}");
            assert!(trace_id(&child_of(Some(bad))).is_some());
        }
    }
}
