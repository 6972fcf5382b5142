//! Masking (RFC 6455 section 5.3): each byte is combined with the key by exclusive or, four bytes of key in turn.

/// Masks or unmasks `payload` in place. `position` is how many bytes of the frame's payload came before it, so that a payload may
/// arrive in parts.
///
/// Eight bytes at a time whatever the alignment; the compiler widens the loop to the machine's vectors.
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], position: usize) {
    let turned: [u8; 4] = std::array::from_fn(|at| key[(position + at) % 4]);
    let wide = u64::from_ne_bytes(std::array::from_fn(|at| turned[at % 4]));
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_cut_of_a_payload_is_masked_like_byte_by_byte(payload: Vec<u8>, key: [u8; 4], cut: prop::sample::Index) {
            let expected: Vec<u8> = payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            let mut masked = payload.clone();
            let cut = cut.index(payload.len() + 1);
            let (front, back) = masked.split_at_mut(cut);
            apply_mask(front, key, 0);
            apply_mask(back, key, cut);
            prop_assert_eq!(&masked, &expected);
            apply_mask(&mut masked, key, 0);
            prop_assert_eq!(masked, payload);
        }
    }
}
