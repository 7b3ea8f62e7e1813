//! The QR code that leads to the page: a camera is the quickest way in.
//!
//! Owns: how a code is drawn, as a picture for the page and as text for a terminal. Refuses to know: where it leads.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Light around a code, in modules, without which a camera may not find it (ISO/IEC 18004).
const QUIET: i32 = 4;

/// Black on white whatever the terminal's own colours are: these two of the 256 are no theme's to change.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const OWN_COLOURS: &str = "\x1b[0m";

/// A code of some text.
pub struct Qr(QrCode);

impl Qr {
    /// The smallest code of `text` that can be read with 15 % of it damaged (level M), or with more where that makes it no larger. `None` where
    /// `text` is longer than any code can say, which for what a URL is made of is 2,331 bytes.
    ///
    /// It takes longer than anything else that the hub answers: about 0.1 ms for a usual address on a PC, and 0.8 ms for one of 500 bytes.
    #[must_use]
    pub fn of(text: &str) -> Option<Qr> {
        QrCode::encode_text(text, QrCodeEcc::Medium).ok().map(Qr)
    }

    /// Its width, and height, in modules, with the quiet zone.
    fn width(&self) -> i32 {
        self.0.size() + 2 * QUIET
    }

    /// Whether a module is dark; the first of the quiet zone is at (0, 0), and outside everything is light.
    fn is_dark(&self, x: i32, y: i32) -> bool {
        self.0.get_module(x - QUIET, y - QUIET)
    }

    /// An SVG picture of it, one unit a module: a white square and one path, of nothing but what the page's policy allows.
    #[must_use]
    pub fn svg(&self) -> String {
        let width = self.width();
        let mut path = String::new();
        for y in 0..width {
            let mut x = 0;
            while x < width {
                let run = (x..width).take_while(|x| self.is_dark(*x, y)).count() as i32;
                if run > 0 {
                    // A string takes everything.
                    let _taken = write!(path, "M{x} {y}h{run}v1h-{run}z");
                }
                x += run.max(1);
            }
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" shape-rendering=\"crispEdges\">\
             <rect width=\"{width}\" height=\"{width}\" fill=\"#fff\"/><path d=\"{path}\"/></svg>\n"
        )
    }

    /// Lines for a terminal, two modules a character, since a character is about twice as high as wide.
    #[must_use]
    pub fn terminal(&self) -> String {
        let width = self.width();
        let mut text = String::new();
        for y in (0..width).step_by(2) {
            text += BLACK_ON_WHITE;
            text.extend((0..width).map(|x| match (self.is_dark(x, y), self.is_dark(x, y + 1)) {
                (false, false) => ' ',
                (true, false) => '▀',
                (false, true) => '▄',
                (true, true) => '█',
            }));
            // On each line, so that no terminal paints the rest of it.
            text += OWN_COLOURS;
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of several sizes, and the modules that they must show: dark ones by column and row, without the quiet zone.
    fn codes() -> Vec<(Qr, Vec<(i32, i32)>)> {
        let long = "x".repeat(300);
        let texts = ["http://10.0.0.1/", "http://board.local:9000/?room=%E4%B8%89", &long];
        texts
            .map(|text| {
                let code = QrCode::encode_text(text, QrCodeEcc::Medium).unwrap();
                let all = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
                (Qr::of(text).unwrap(), all.filter(|(x, y)| code.get_module(*x, *y)).collect())
            })
            .into()
    }

    fn without_quiet(dark: impl IntoIterator<Item = (i32, i32)>) -> Vec<(i32, i32)> {
        dark.into_iter().map(|(x, y)| (x - 4, y - 4)).collect()
    }

    #[test]
    fn a_picture_shows_the_code() {
        for (qr, modules) in codes() {
            let svg = qr.svg();
            let (before, path) = svg.split_once("<path d=\"").unwrap();
            let path = path.strip_suffix("\"/></svg>\n").unwrap();
            let width = qr.0.size() + 8;
            let expected = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" shape-rendering=\"crispEdges\">\
                 <rect width=\"{width}\" height=\"{width}\" fill=\"#fff\"/>"
            );
            assert_eq!(before, expected);
            let (mut dark, mut last) = (Vec::new(), (-1, 0));
            for run in path.split_terminator('z') {
                let numbers = run.trim_start_matches('M').replace(['h', 'v'], " ");
                let numbers: Vec<i32> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
                let [x, y, width, 1, back] = numbers[..] else { panic!("{run}") };
                assert!(width > 0 && back == -width, "{run}");
                // One that touches the last would be the same run.
                assert!((y, x) > (last.0, last.1), "{run}");
                last = (y, x + width);
                dark.extend((x..x + width).map(|x| (x, y)));
            }
            assert_eq!(without_quiet(dark), modules);
        }
    }

    #[test]
    fn a_terminal_shows_the_code() {
        for (qr, modules) in codes() {
            let (text, width) = (qr.terminal(), qr.0.size() + 8);
            let mut dark = Vec::new();
            for (line, y) in text.lines().zip((0..).step_by(2)) {
                let line = line.strip_prefix("\x1b[38;5;16;48;5;231m").and_then(|line| line.strip_suffix("\x1b[0m"));
                let cells: Vec<char> = line.expect("colours, and their end").chars().collect();
                assert_eq!(cells.len(), width as usize);
                for (rows, y) in [("▀█", y), ("▄█", y + 1)] {
                    dark.extend((0..).zip(&cells).filter(|(_, cell)| rows.contains(**cell)).map(|(x, _)| (x, y)));
                }
                assert!(cells.iter().all(|cell| " ▀▄█".contains(*cell)));
            }
            assert_eq!(without_quiet(dark), modules);
            assert_eq!(text.lines().count() as i32, (width + 1) / 2);
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn a_code_has_an_end() {
        assert!(Qr::of(&"x".repeat(2331)).is_some());
        assert!(Qr::of(&"x".repeat(2332)).is_none());
    }
}
