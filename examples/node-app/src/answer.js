// What the application says.
module.exports = (uptime) => `up for ${uptime}`;
