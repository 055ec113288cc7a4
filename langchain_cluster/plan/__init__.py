"""What happens, in order. Plans yield effects and perform none; drivers perform them."""
