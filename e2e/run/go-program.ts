/** A Go program that reads its database from the environment, and the module it belongs to. */

export const goProgram = String.raw`
package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/lib/pq"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	check(err)
	names := []string{}
	for id := 1; id <= 3; id++ {
		var name string
		check(db.QueryRow("select name from customers where id = $1", id).Scan(&name))
		names = append(names, name)
	}
	var failure *pq.Error
	_, err = db.Exec("select 1 / 0")
	if !errors.As(err, &failure) {
		check(errors.New("a division by zero passed"))
	}
	check(db.Close())
	// No connection string: the PG variables alone.
	db, err = sql.Open("postgres", "")
	check(err)
	var user string
	check(db.QueryRow("select current_user").Scan(&user))
	check(db.Close())
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{"names": names, "ambient": user, "code": string(failure.Code)}))
}
`

export const goModule = `module agent

go 1.21

require github.com/lib/pq v1.10.9
`

export const goSums = `github.com/lib/pq v1.10.9 h1:YXG7RB+JIjhP29X+OtkiDnYaXQwpS4JEWq7dtCCRUEw=
github.com/lib/pq v1.10.9/go.mod h1:AlVN5x4E4T544tWzH6hKfbfQvm3HdbOxrmggDNAPY9o=
`
