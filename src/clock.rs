//! How times are printed.

use tidings_proto::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A time as RFC 3339 in UTC, `1970-01-01T00:00:00Z`. A time that no calendar has is printed as its milliseconds.
pub(crate) fn text(time: Timestamp) -> String {
    let nanoseconds = i128::from(time.value()) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok();
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| time.to_string())
}

/// The same; `None` for zero, which stands for "never".
pub(crate) fn text_or_none(time: Timestamp) -> Option<String> {
    (time != Timestamp::ZERO).then(|| text(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_in_utc() {
        assert_eq!(text(Timestamp::new(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_a_number() {
        assert_eq!(text(Timestamp::new(u64::MAX)), u64::MAX.to_string());
    }
}
