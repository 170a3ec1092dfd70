package audit

import (
	"encoding/json"
	"time"
)

// A record is one entry of a client's log. The JSON handler of log/slog writes entries in this
// form.
type record struct {
	Time    time.Time `json:"time"`
	Message string    `json:"msg"`
	Path    string    `json:"path"`
	Token   int64     `json:"token"`
	Session string    `json:"session"`
	Client  string    `json:"client"`
	Cause   string    `json:"cause"`
}

// exported is a line of log records in the JSON form of OTLP, the protocol of OpenTelemetry.
type exported struct {
	Resources []struct {
		Resource struct{ Attributes attributes }
		Scopes   []struct {
			Records []struct {
				Time       json.Number `json:"timeUnixNano"` // nanoseconds since 1970
				Body       value
				Attributes attributes
			} `json:"logRecords"`
		} `json:"scopeLogs"`
	} `json:"resourceLogs"`
}

type attributes []struct {
	Key   string
	Value value
}

type value struct {
	Text   string      `json:"stringValue"`
	Number json.Number `json:"intValue"` // a 64-bit number, which most programs write as a string
}

func (a attributes) get(keys ...string) (v value) {
	for _, key := range keys {
		for _, one := range a {
			if one.Key == key {
				return one.Value
			}
		}
	}
	return v
}

// The function `records` parses a line of log/slog, which has one entry, or a line of OTLP, which
// can have several. If the line has neither form, it has no entries.
func records(text []byte) (all []record) {
	var line struct {
		record
		exported
	}
	if json.Unmarshal(text, &line) != nil {
		return nil
	}
	if !line.Time.IsZero() {
		all = append(all, line.record)
	}
	for _, r := range line.Resources {
		program := r.Resource.Attributes.get("service.instance.id", "service.name").Text
		for _, s := range r.Scopes {
			for _, one := range s.Records {
				nanoseconds, err := one.Time.Int64()
				if err != nil {
					continue
				}
				token, _ := one.Attributes.get("token").Number.Int64() // 0 if there is none
				client := one.Attributes.get("client").Text
				if client == "" {
					client = program
				}
				all = append(all, record{
					Time: time.Unix(0, nanoseconds), Message: one.Body.Text, Path: one.Attributes.get("path").Text, Token: token,
					Session: one.Attributes.get("session").Text, Client: client, Cause: one.Attributes.get("cause").Text,
				})
			}
		}
	}
	return all
}
