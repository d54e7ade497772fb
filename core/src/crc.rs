//! CRC-32C (Castagnoli), eight bytes at a time.

const TABLES: [[u32; 256]; 8] = tables();

/// The checksum of `parts` read as one piece.
pub(crate) fn checksum<const N: usize>(parts: [&[u8]; N]) -> u32 {
    !parts.iter().fold(!0, |crc, part| update(crc, part))
}

fn update(mut crc: u32, bytes: &[u8]) -> u32 {
    let (eights, rest) = bytes.as_chunks::<8>();
    for chunk in eights {
        let word = u64::from_le_bytes(*chunk) ^ u64::from(crc);
        crc = 0;
        for (i, byte) in word.to_le_bytes().into_iter().enumerate() {
            crc ^= TABLES[7 - i][usize::from(byte)];
        }
    }
    for byte in rest {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(*byte)) & 0xff) as usize];
    }
    crc
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut t = 1;
    while t < 8 {
        let mut i = 0;
        while i < 256 {
            let below = tables[t - 1][i];
            tables[t][i] = (below >> 8) ^ tables[0][(below & 0xff) as usize];
            i += 1;
        }
        t += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn known_answers() {
        assert_eq!(checksum([b"123456789", b""]), 0xe306_9283);
        assert_eq!(checksum([b"1", b"23456789"]), 0xe306_9283);
        assert_eq!(checksum([&[0; 32], b""]), 0x8a91_36aa);
        assert_eq!(checksum([&[0xff; 20], &[0xff; 12]]), 0x62a8_ab43);
    }
}
