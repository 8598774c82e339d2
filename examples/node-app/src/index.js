// Without PORT it says once what it would answer; with PORT it serves.
const http = require("http");
const ms = require("ms");
const answer = require("./answer");

const started = Date.now();
const text = () => answer(ms(Date.now() - started, { long: true }));

if (process.env.PORT) {
  http
    .createServer((request, response) => response.end(text() + "\n"))
    .listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
} else {
  console.log(answer(ms(60000, { long: true })));
}
