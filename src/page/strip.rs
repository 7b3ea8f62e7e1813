//! What of a file goes over the wire: all of it but what is written for whoever changes it.
//!
//! Owns: which lines of a script, a sheet of style or a piece of markup a browser does not need, and leaving them out while the hub is
//! compiled, so that the hub itself neither holds nor removes them. Refuses to know: which files there are.
//!
//! It goes by lines and reads no language. Left out are blank lines, indentation, and a comment that begins a line: `//` in a script, `/* */` in
//! a script or a sheet of style, `<!-- -->` in markup. A comment behind something else on its line stays. A sheet of style, where they mean nothing, is
//! also served without most line ends and without spaces around its own marks. This is right where nothing but such a
//! comment spans lines (no template literal, no `<pre>`), which the tests of the page look after. The cost: a browser's console counts the lines
//! of what was served. The gain is about a third of the bytes, as long as files explain themselves.

/// What a file is written in, as far as its comments go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Script,
    Style,
    Markup,
}

/// How a comment that spans lines begins and ends.
const fn block(syntax: Syntax) -> (&'static [u8], &'static [u8]) {
    match syntax {
        Syntax::Script | Syntax::Style => (b"/*", b"*/"),
        Syntax::Markup => (b"<!--", b"-->"),
    }
}

/// A file without what is left out, in a place as large as the file.
pub(super) struct Stripped<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Stripped<N> {
    pub(super) const fn left(&self) -> &[u8] {
        self.bytes.split_at(self.length).0
    }
}

pub(super) const fn strip<const N: usize>(source: &[u8; N], syntax: Syntax) -> Stripped<N> {
    let mut stripped = Stripped { bytes: [0; N], length: 0 };
    let mut at = 0;
    while let Some((from, to)) = next_line(source, at, syntax) {
        let line = source.split_at(to).0.split_at(from).1;
        if matches!(syntax, Syntax::Style) {
            stripped.append_style(line);
        } else {
            // In one piece: what is done for each byte while compiling is what a build waits for.
            stripped.bytes.split_at_mut(stripped.length).1.split_at_mut(line.len()).0.copy_from_slice(line);
            stripped.length += line.len();
        }
        at = to;
    }
    stripped
}

impl<const N: usize> Stripped<N> {
    /// Appends a line of a sheet of style without what stands only for the eye: a space behind a colon or a comma or before a brace, and the line
    /// end behind a brace, a semicolon or a comma. What is in quotes stays.
    const fn append_style(&mut self, line: &[u8]) {
        let mut quoted = false;
        let mut n = 0;
        while n < line.len() {
            let byte = line[n];
            let before = if self.length > 0 { self.bytes[self.length - 1] } else { b'{' };
            n += 1;
            quoted = quoted != (byte == b'"');
            let is_idle = match byte {
                b' ' => matches!(before, b':' | b',') || n < line.len() && line[n] == b'{',
                b'\n' => matches!(before, b'{' | b'}' | b';' | b','),
                _ => false,
            };
            if quoted || !is_idle {
                self.bytes[self.length] = byte;
                self.length += 1;
            }
        }
    }
}

/// The first line at or behind `at`, a line's start or the rest of a line behind a comment, of which something is left: from where to where, its
/// line end included.
const fn next_line(source: &[u8], mut at: usize, syntax: Syntax) -> Option<(usize, usize)> {
    let (opens, closes) = block(syntax);
    while at < source.len() {
        if matches!(source[at], b' ' | b'\t' | b'\r' | b'\n') {
            at += 1;
        } else if has(source, at, opens) {
            at += opens.len();
            while !has(source, at, closes) {
                // Compiling ends here where a file has a comment without an end.
                assert!(at < source.len());
                at += 1;
            }
            at += closes.len();
        } else if matches!(syntax, Syntax::Script) && has(source, at, b"//") {
            at = line_end(source, at);
        } else {
            return Some((at, line_end(source, at)));
        }
    }
    None
}

/// Whether `source` has `what` at this place.
const fn has(source: &[u8], at: usize, what: &[u8]) -> bool {
    let mut n = 0;
    while n < what.len() {
        if at + n >= source.len() || source[at + n] != what[n] {
            return false;
        }
        n += 1;
    }
    true
}

const fn line_end(source: &[u8], mut at: usize) -> usize {
    while at < source.len() {
        at += 1;
        if source[at - 1] == b'\n' {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{Asset, CSS, SCRIPT, assets};

    /// As the page's files are stripped: while compiling.
    macro_rules! assert_stripped {
        ($syntax:expr, $source:literal, $left:literal) => {{
            const SOURCE: [u8; $source.len()] = *$source.as_bytes().first_chunk().unwrap();
            const STRIPPED: Stripped<{ SOURCE.len() }> = strip(&SOURCE, $syntax);
            assert_eq!(std::str::from_utf8(STRIPPED.left()).unwrap(), $left);
        }};
    }

    #[test]
    fn indentation_and_blank_lines_go() {
        assert_stripped!(Syntax::Script, "a\n  b\n\n \t \r\n\t\tc d  e\n", "a\nb\nc d  e\n");
        assert_stripped!(Syntax::Markup, "\n\n <p\n   id=\"a\">\n", "<p\nid=\"a\">\n");
        assert_stripped!(Syntax::Style, "", "");
        assert_stripped!(Syntax::Style, " \n\n ", "");
        assert_stripped!(Syntax::Style, "  a", "a");
        assert_stripped!(Syntax::Markup, "  <p>名字</p>\n", "<p>名字</p>\n");
    }

    #[test]
    fn a_line_that_is_a_comment_goes() {
        assert_stripped!(Syntax::Script, "// a\nb;\n  // c\nd;\n//", "b;\nd;\n");
        assert_stripped!(Syntax::Script, "//\n/// a\n//* b\nc\n", "c\n");
        // It is none in the other two.
        assert_stripped!(Syntax::Style, "// a\n", "// a\n");
    }

    #[test]
    fn a_sheet_of_style_loses_what_is_for_the_eye() {
        assert_stripped!(Syntax::Style, "a,\nb > c {\n  d: e, f;\n}\n", "a,b > c{d:e,f;}");
        assert_stripped!(Syntax::Style, "@media (a: b) and (c) {\n}\n", "@media (a:b) and (c){}");
        assert_stripped!(Syntax::Style, "a {\n  b: \"c: d, e {\" f\n    g;\n}\n", "a{b:\"c: d, e {\" f\ng;}");
    }

    #[test]
    fn a_line_is_a_comment_in_a_script_alone() {
        assert_stripped!(Syntax::Markup, "// a\n", "// a\n");
    }

    #[test]
    fn a_block_that_begins_a_line_goes() {
        assert_stripped!(Syntax::Script, "/** a */\nb;\n  /*\n   * c // d\n   */\ne;\n", "b;\ne;\n");
        assert_stripped!(Syntax::Style, "/* a\n\n// b */\nc {\n  /**/\n}\n", "c{}");
        assert_stripped!(Syntax::Markup, "<!DOCTYPE html>\n<!-- a\n -- > -->\n<p>\n", "<!DOCTYPE html>\n<p>\n");
        // The end of one is not the beginning of another.
        assert_stripped!(Syntax::Script, "/*/ a */b\n/***/c\n", "b\nc\n");
        assert_stripped!(Syntax::Markup, "<!----><p>\n", "<p>\n");
        // It is none in the others.
        assert_stripped!(Syntax::Style, "<!-- a -->\n", "<!-- a -->\n");
        assert_stripped!(Syntax::Markup, "/* a */\n", "/* a */\n");
    }

    #[test]
    fn what_follows_a_block_begins_a_line() {
        assert_stripped!(Syntax::Script, "/* a */ /* b */ c; // d\n", "c; // d\n");
        assert_stripped!(Syntax::Script, "a\n/* b\n*/ // c\nd\n", "a\nd\n");
    }

    #[test]
    fn a_comment_behind_something_stays() {
        assert_stripped!(Syntax::Script, "a; // b\nc; /* d */\n", "a; // b\nc; /* d */\n");
        assert_stripped!(Syntax::Style, "a { } /* b */\n", "a{ } /* b */\n");
        assert_stripped!(Syntax::Markup, "<p> <!-- a -->\n", "<p> <!-- a -->\n");
        assert_stripped!(Syntax::Script, "f('http://a/*b*/');\n", "f('http://a/*b*/');\n");
    }

    // ---- The page's own files -------------------------------------------------------------------

    /// The file that an asset is made of, as it lies beside this one.
    fn source(asset: &Asset) -> String {
        let file = match asset.path {
            "/" => "index.html".to_owned(),
            path if path.contains('.') => path[1..].to_owned(),
            path => format!("{}.html", &path[1..]),
        };
        std::fs::read_to_string(format!("{}/src/page/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Said a second time, by lines and without the first's code.
    #[test]
    fn what_is_served_is_the_file_without_its_comments() {
        for asset in assets() {
            let is_script = asset.content_type == SCRIPT.0;
            let (opens, closes) = if is_script || asset.content_type == CSS.0 { ("/*", "*/") } else { ("<!--", "-->") };
            let (source, mut left, mut inside) = (source(asset), String::new(), false);
            for line in source.lines().map(str::trim_start) {
                let comment = if inside { Some(line) } else { line.strip_prefix(opens) };
                if let Some(comment) = comment {
                    let behind = comment.split_once(closes).map(|(_, behind)| behind);
                    inside = behind.is_none();
                    assert_eq!(behind.unwrap_or_default(), "", "{}: something follows a comment: {line}", asset.path);
                } else if !(line.is_empty() || is_script && line.starts_with("//")) {
                    left += &format!("{line}\n");
                }
            }
            if asset.content_type == CSS.0 {
                for (wide, narrow) in [(": ", ":"), (", ", ","), (" {", "{")] {
                    assert!(
                        !left.split('"').skip(1).step_by(2).any(|quoted| quoted.contains(wide)),
                        "a text has {wide:?}"
                    );
                    left = left.replace(wide, narrow);
                }
                left = ["{", "}", ";", ","].iter().fold(left, |left, mark| left.replace(&format!("{mark}\n"), mark));
            }
            assert_eq!(std::str::from_utf8(asset.body).unwrap(), left, "{}", asset.path);
        }
    }

    /// Else a line of what is said to people could be taken for a comment, or lose its indentation.
    #[test]
    fn nothing_but_a_comment_spans_lines() {
        for asset in assets() {
            let source = source(asset);
            let wrong = if asset.content_type == SCRIPT.0 { spanning(&source) } else { spanning_markup(&source) };
            assert_eq!(wrong, None, "{}", asset.path);
        }
    }

    #[test]
    fn whatever_spans_lines_is_found() {
        for right in [
            "a = 'b\\'//'; // c `\n/* d '\n` */ e = \"'\"; /* f */\n",
            "a = `b ${c ? `d` : ''} // e`;\n",
            "a = b / c; d = /['\"`/*]\\//.test(e) ? f / 2 : /'/g;\n// it's\n",
        ] {
            assert_eq!(spanning(right), None, "{right}");
        }
        for (wrong, line) in [
            ("a = `b\n// c`;\n", 1),
            ("\na = 'b\\\nc';\n", 2),
            ("a = \"b\n", 1),
            ("a; /* b\n// c */\n", 1),
            ("/* a */ b; /*\n*/\n", 1),
            ("a = b.match(/['`]/) + `\n`;\n", 1),
        ] {
            assert_eq!(spanning(wrong), Some(line), "{wrong}");
        }
        for (markup, line) in [
            ("<p> <!-- a\n-->\n", Some(1)),
            ("\na { } /* b\n*/\n", Some(2)),
            ("a {\n  content: 'b\\\nc';\n}\n", Some(2)),
            ("<pre>\n", Some(1)),
            ("<textarea\n  rows=\"1\">\n  a</textarea>\n", Some(2)),
            ("<!-- a\n b -->\n<p> <!-- c -->\n<textarea\n  rows=\"1\"></textarea>\n/* d\n\n*/\n", None),
        ] {
            assert_eq!(spanning_markup(markup), line, "{markup}");
        }
    }

    /// The line of a script where something begins that goes on in the next: a text, a template, a pattern, or a comment behind something else.
    fn spanning(script: &str) -> Option<usize> {
        let (mut line, mut begins_line, mut before, mut rest) = (1, true, ';', script);
        while let Some(first) = rest.chars().next() {
            let is_pattern = first == '/' && "(,=:[!&|?{};+".contains(before);
            let (length, may_span) = if rest.starts_with("//") {
                (rest.find('\n').unwrap_or(rest.len()), true)
            } else if let Some(comment) = rest.strip_prefix("/*") {
                (2 + comment.find("*/").map_or(comment.len(), |at| at + 2), begins_line)
            } else if is_pattern || "'\"`".contains(first) {
                (quoted(rest, first), false)
            } else {
                (first.len_utf8(), true)
            };
            let (token, behind) = rest.split_at(length);
            if !may_span && token.contains('\n') {
                return Some(line);
            }
            if !first.is_whitespace() && !token.starts_with("//") && !token.starts_with("/*") {
                before = first;
            }
            begins_line = first == '\n' || begins_line && (first.is_whitespace() || token.starts_with("/*"));
            line += token.matches('\n').count();
            rest = behind;
        }
        None
    }

    /// How long a text, template or pattern is, which stands at the beginning.
    fn quoted(text: &str, quote: char) -> usize {
        let (mut escaped, mut in_class) = (false, false);
        for (at, c) in text.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' if quote == '/' => in_class = true,
                ']' => in_class = false,
                _ if c == quote && !in_class => return at + 1,
                _ => {}
            }
        }
        text.len()
    }

    /// The same of a sheet of style or of markup, where a line counts as it is written.
    fn spanning_markup(text: &str) -> Option<usize> {
        let mut end_of_comment = None;
        let mut content = None;
        for (line, number) in text.lines().zip(1..) {
            if let Some(end) = end_of_comment {
                end_of_comment = (!line.contains(end)).then_some(end);
                continue;
            }
            for (opens, closes) in [("<!--", "-->"), ("/*", "*/")] {
                if let Some(at) = line.rfind(opens).filter(|at| !line[*at..].contains(closes)) {
                    if !line[..at].trim().is_empty() {
                        return Some(number);
                    }
                    end_of_comment = Some(closes);
                }
            }
            if line.ends_with('\\') || line.contains("<pre") {
                return Some(number);
            }
            // From the `>` of a textarea, wherever that is, to its end tag there may be nothing.
            let begun = line.split_once("<textarea").map_or(line, |(_, behind)| behind);
            if begun.len() < line.len() || content.is_some() {
                content = Some(number);
                if let Some((_, inner)) = begun.split_once('>') {
                    if !inner.starts_with("</textarea>") {
                        return Some(number);
                    }
                    content = None;
                }
            }
        }
        None
    }
}
