"""The reporter: follows the journal and writes facts and a report."""
