package main

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// asText returns data as a string if it is readable text.
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

// count formats a number with a noun, in the singular if the number is 1.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// mostShown is the maximum number of bytes of a znode's data in one line.
const mostShown = 120

// excerpt returns the beginning of text in quotes. It never splits a character.
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
