"""How each contender is used. A module imports its library, so it is imported in the contender's own process only."""
