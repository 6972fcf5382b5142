//! Which addresses a server may call when its operator forbids private ones, and in which order they are tried. Pure.
//!
//! Public is what the IANA special-purpose registries (RFC 6890 and its updates) call globally reachable. An IPv6 address
//! that carries an IPv4 address is judged by that one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the address belongs to the public Internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0, ..] | [10, ..] | [127, ..] => true, // this network, private, loopback
        [100, b, ..] => b & 0xc0 == 64,         // 100.64/10: carrier-grade NAT
        [169, 254, ..] => true,                 // link-local, where clouds keep their metadata
        [172, b, ..] => b & 0xf0 == 16,         // private
        [192, 0, 0 | 2, _] => true,             // protocol assignments, documentation
        [192, 88, 99, _] => true,               // relays of 6to4
        [192, 168, ..] => true,                 // private
        [198, 18 | 19, ..] => true,             // benchmarks
        [198, 51, 100, _] => true,              // documentation
        [203, 0, 113, _] => true,               // documentation
        [a, ..] => a >= 224,                    // multicast, reserved, broadcast
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        // IPv4-mapped and -compatible; the unspecified address and loopback are among the latter, as 0/8.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low), // NAT64
        [0x2002, high, low, ..] => embedded(high, low),               // 6to4
        [0x2001, b, ..] if b < 0x200 => false,                        // protocol assignments, Teredo among them
        [0x2001, 0xdb8, ..] => false,                                 // documentation
        [0x3fff, b, ..] if b < 0x1000 => false,                       // documentation
        [a, ..] => a & 0xe000 == 0x2000,                              // global unicast; all else is local or special
    }
}

/// The addresses with their families taking turns, beginning with the resolver's first: a family without a route costs one
/// attempt and not all of them.
pub(super) fn interleaved(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first.is_ipv4());
    ours.reverse();
    others.reverse();
    let mut order = Vec::with_capacity(addresses.len());
    while !(ours.is_empty() && others.is_empty()) {
        order.extend(ours.pop());
        order.extend(others.pop());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_special_addresses_are_not_public_in_any_form() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::10.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::192.168.0.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn the_rest_is_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.1.1.1",
            "128.0.0.1",
            "169.253.1.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.17.1.1",
            "198.20.0.1",
            "203.0.114.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860:4860::8888",
            "2002:808:808::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn families_take_turns_and_the_first_one_begins() {
        let parse = |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|address| address.parse().unwrap()).collect() };
        let order = interleaved(&parse(&["::1", "::2", "::3", "1.0.0.1", "1.0.0.2"]));
        assert_eq!(order, parse(&["::1", "1.0.0.1", "::2", "1.0.0.2", "::3"]));
        assert_eq!(interleaved(&parse(&["1.0.0.1", "::1"])), parse(&["1.0.0.1", "::1"]));
        assert_eq!(interleaved(&[]), parse(&[]));
    }
}
