. /srv/lib/say.sh
. /srv/app/constants.sh
say "knows $TYPES types on port $PORT"
