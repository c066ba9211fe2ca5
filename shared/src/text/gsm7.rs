//! The characters of the GSM 7-bit default alphabet and of its extension table (3GPP TS 23.038, 6.2.1).

/// Whether the alphabet or its extension has `c`.
pub(super) fn has(c: char) -> bool {
    is_basic(c) || is_extended(c)
}

/// Whether `c` is written as an escape and another septet.
pub(super) fn is_extended(c: char) -> bool {
    matches!(c, '\u{c}' | '^' | '{' | '}' | '\\' | '[' | '~' | ']' | '|' | '€')
}

/// The escape itself is no character.
#[rustfmt::skip]
fn is_basic(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | ' '..='Z' | '_' | 'a'..='z'
            | '¡' | '£' | '¤' | '¥' | '§' | '¿'
            | 'Ä' | 'Å' | 'Æ' | 'Ç' | 'É' | 'Ñ' | 'Ö' | 'Ø' | 'Ü' | 'ß'
            | 'à' | 'ä' | 'å' | 'æ' | 'è' | 'é' | 'ì' | 'ñ' | 'ò' | 'ö' | 'ø' | 'ù' | 'ü'
            | 'Γ' | 'Δ' | 'Θ' | 'Λ' | 'Ξ' | 'Π' | 'Σ' | 'Φ' | 'Ψ' | 'Ω'
    )
}
