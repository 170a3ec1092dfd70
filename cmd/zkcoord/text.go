package main

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// asText returns data as a string if a person can read it.
func asText(data []byte) (string, bool) {
	if !utf8.Valid(data) {
		return "", false
	}
	for _, r := range string(data) {
		if !unicode.IsPrint(r) && !unicode.IsSpace(r) {
			return "", false
		}
	}
	return string(data), true
}

// count is n things, or one thing.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// mostShown is how many bytes of the data of a znode a line shows.
const mostShown = 120

// excerpt is the beginning of text, in quotes. It ends with a whole character.
func excerpt(text string) string {
	if len(text) <= mostShown {
		return fmt.Sprintf("%q", text)
	}
	end := mostShown
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%q...", text[:end])
}
